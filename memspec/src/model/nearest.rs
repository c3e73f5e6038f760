//! Did you mean: the known names that look most like one that is not known.

/// Up to three of `known` that are near `name`, the nearest first. Case does not matter, nor does an organisation in front.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    // a name of a megabyte is not a typing mistake; comparing costs its length squared
    let name: String = name.chars().take(128).collect::<String>().to_lowercase();
    // Jaro-Winkler favours a common beginning, which is how names of models and modules go wrong least
    let mut scored: Vec<(f64, f64, &str)> = known
        .into_iter()
        .map(|k| {
            let lower = k.to_lowercase();
            (strsim::jaro_winkler(bare(&name), bare(&lower)), strsim::jaro_winkler(&name, &lower), k)
        })
        .filter(|(score, ..)| *score >= 0.75)
        .collect();
    // of one model by several organisations the one whose name fits too
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(b.2)));
    scored.dedup_by(|a, b| a.2 == b.2);
    scored.into_iter().take(3).map(|(.., k)| k.to_owned()).collect()
}

fn bare(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_the_name_and_noise_finds_nothing() {
        let known = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"];
        assert_eq!(nearest("q_porj", known).first().map(String::as_str), Some("q_proj"));
        assert_eq!(nearest("zzzz", known), Vec::<String>::new());
    }
}
