//! Nodes to lines: what stands below what.

use super::nodes::{Node, Piece, Spread};
use super::tokens::{sign, spaced, value};

/// Columns of a line that is not broken.
pub(super) const WIDTH: usize = 100;
/// A level.
pub(super) const INDENT: &str = "  ";

/// The lines of nodes, each with its end, indented by `depth` levels.
pub(super) fn lines(nodes: &[Spread<'_>], depth: usize) -> String {
    let mut text = String::new();
    let mut rest = nodes;
    while !rest.is_empty() {
        let count = run(rest);
        let (these, after) = rest.split_at(count);
        write_run(&mut text, these, depth);
        rest = after;
    }
    text
}

/// How many nodes stand right below each other as lines, comments between them counted.
fn run(nodes: &[Spread<'_>]) -> usize {
    let is_line = |node: &Node<'_>| matches!(node, Node::Line(_) | Node::Comment(_));
    if !is_line(&nodes[0].node) {
        return 1;
    }
    1 + nodes[1..].iter().take_while(|next| !next.blank && is_line(&next.node)).count()
}

fn write_run(text: &mut String, nodes: &[Spread<'_>], depth: usize) {
    let indent = INDENT.repeat(depth);
    let heads = nodes.iter().filter_map(|spread| match &spread.node {
        Node::Line(line) => sign(line).map(|at| columns(&spaced(&line[..at]))),
        _ => None,
    });
    let wide = heads.max().unwrap_or(0);
    let written: Vec<String> = nodes.iter().map(|spread| written(&spread.node, wide, depth)).collect();
    let beside = nodes.iter().zip(&written).filter(|(spread, line)| spread.comment.is_some() && !line.contains('\n'));
    let comments = beside.map(|(_, line)| columns(line)).max().unwrap_or(0);
    for (spread, line) in nodes.iter().zip(written) {
        if spread.blank {
            text.push('\n');
        }
        if !matches!(spread.node, Node::Verbatim(_)) {
            text.push_str(&indent);
        }
        text.push_str(&line);
        if let Some(comment) = spread.comment {
            let pad = if line.contains('\n') { 0 } else { comments - columns(&line) };
            text.push_str(&format!("{}  {comment}", " ".repeat(pad)));
        }
        text.push('\n');
    }
}

/// A node from its first token on; lines after the first one are indented. `wide`: columns of the name before a sign.
fn written(node: &Node<'_>, wide: usize, depth: usize) -> String {
    match node {
        Node::Line(line) => statement(line, wide, depth),
        Node::Comment(comment) => (*comment).to_owned(),
        Node::Verbatim(lines) => (*lines).to_owned(),
        Node::Block { head, body, inline, opening } => {
            if *inline
                && let Some(line) = on_one_line(head, body)
                && 2 * depth + columns(&line) <= WIDTH
            {
                return line;
            }
            let opening = opening.map(|comment| format!("  {comment}")).unwrap_or_default();
            format!("{}{opening}\n{}{}}}", opened(head), lines(body, depth + 1), INDENT.repeat(depth))
        }
    }
}

fn statement(line: &[Piece<'_>], wide: usize, depth: usize) -> String {
    let Some(at) = sign(line) else { return value(line, 2 * depth, depth) };
    let head = format!("{:wide$} {} ", spaced(&line[..at]), line[at].text);
    let value = value(&line[at + 1..], 2 * depth + columns(&head), depth);
    (head + &value).trim_end().to_owned()
}

fn opened(head: &[Piece<'_>]) -> String {
    let head = spaced(head);
    if head.is_empty() { "{".to_owned() } else { format!("{head} {{") }
}

/// A block on one line, where everything in it can be.
fn on_one_line(head: &[Piece<'_>], body: &[Spread<'_>]) -> Option<String> {
    let statements: Option<Vec<String>> = body
        .iter()
        .map(|spread| match &spread.node {
            Node::Line(line) => Some(statement(line, 0, 0)).filter(|line| !line.contains('\n')),
            Node::Block { head, body, .. } => on_one_line(head, body),
            Node::Comment(_) | Node::Verbatim(_) => None,
        })
        .collect();
    let inside = statements?.join("; ");
    let open = opened(head);
    Some(if inside.is_empty() { format!("{open} }}") } else { format!("{open} {inside} }}") })
}

fn columns(text: &str) -> usize {
    text.chars().count()
}
