use super::*;
use crate::model::catalog;

/// Width and height, or columns and rows.
type Size = (u64, u64);

/// Width and height of an image, and what transformers 5.23's `smart_resize` makes of them at factor 28 within 3136 and
/// 12845056 pixels.
const REFERENCE: &[(Size, Size)] = &[
    ((448, 448), (448, 448)),
    ((1344, 896), (1344, 896)),
    ((1, 1), (56, 56)),
    ((14, 14), (56, 56)),
    ((42, 70), (56, 56)),
    ((98, 126), (112, 112)),
    ((13, 200), (28, 224)),
    ((2000, 10), (812, 28)),
    ((640, 480), (644, 476)),
    ((1920, 1080), (1932, 1092)),
    ((4000, 3000), (4004, 2996)),
    ((10000, 8000), (4004, 3192)),
    ((3584, 3584), (3584, 3584)),
    ((3585, 3584), (3584, 3584)),
    ((3868, 5019), (3136, 4060)),
    ((1691, 6539), (1680, 6552)),
    ((7846, 2589), (6216, 2044)),
    ((1477, 1139), (1484, 1148)),
    ((325, 6629), (336, 6636)),
    ((4742, 1014), (4732, 1008)),
    ((3637, 8575), (2324, 5488)),
    ((8793, 5952), (4340, 2940)),
    ((4534, 2878), (4480, 2828)),
    ((1740, 4338), (1736, 4340)),
    ((3513, 470), (3500, 476)),
    ((4265, 4502), (3472, 3668)),
    ((3170, 2750), (3164, 2744)),
    ((5077, 4795), (3668, 3472)),
    ((6102, 1470), (6104, 1456)),
    ((5529, 6405), (3304, 3836)),
    ((8290, 4127), (5068, 2520)),
    ((2913, 4102), (2912, 4088)),
    ((7760, 4637), (4620, 2744)),
    ((1464, 4969), (1456, 4956)),
];

#[test]
fn edges_and_areas_are_qwens() {
    let check = |size: (u64, u64), expected: (u64, u64)| {
        assert_eq!(smart_resize(size.0, size.1, 28, 3136, 12_845_056).unwrap(), expected, "{size:?}");
    };
    REFERENCE.iter().for_each(|(size, expected)| check(*size, *expected));
}

#[test]
fn images_become_patches_and_tokens() {
    let check = |model: &str, size: (u64, u64), patches: u64, tokens: u64| {
        let vision = catalog::get(model).unwrap().vision.unwrap();
        let found = (vision.patches(size.0, size.1).unwrap(), vision.tokens(size.0, size.1).unwrap());
        assert_eq!(found, (patches, tokens), "{model} {size:?}");
    };
    check("qwen2-vl-7b", (448, 448), 1024, 256);
    check("qwen2-vl-7b", (1344, 896), 6144, 1536);
    check("qwen2-vl-7b", (1, 1), 16, 4);
    // As their processors gave them to measured runs.
    check("qwen2.5-vl-7b", (700, 500), 1800, 450);
    check("qwen3-vl-4b", (448, 448), 784, 196);
    check("qwen3-vl-4b", (1024, 768), 3072, 768);
    check("gemma-3-4b-it", (800, 600), 4096, 256);
    check("llava-1.5-7b", (640, 480), 576, 576);
    check("mistral-small-3.1", (700, 500), 1800, 450);
    check("mistral-small-3.1", (1540, 1024), 8140, 2035);
}

#[test]
fn windows_are_squares_cut_off_at_the_edges() {
    let windows =
        |model: &str, size: (u64, u64)| catalog::get(model).unwrap().vision.unwrap().windows(size.0, size.1).unwrap();
    assert_eq!(windows("qwen2.5-vl-7b", (448, 448)), [64; 16]);
    let cut = windows("qwen2.5-vl-7b", (700, 500));
    // 25 by 18 tokens in squares of 4: the last column is 1 wide, the last row 2 high.
    assert_eq!((cut.len(), cut[0], cut[6], cut[34]), (35, 64, 16, 8));
    assert_eq!(cut.iter().sum::<u64>(), 1800);
    assert_eq!(windows("llava-1.5-7b", (700, 500)), [576]);
}

#[test]
fn images_that_no_processor_takes_are_refused() {
    let vision = catalog::get("qwen2-vl-7b").unwrap().vision.unwrap();
    let error = vision.tokens(20_000, 28).unwrap_err().to_string();
    assert!(error.contains("20000x28") && error.contains("200 times"), "{error}");
    assert!(vision.tokens(0, 28).unwrap_err().to_string().contains("image width"));
    assert!(vision.patches(28, u64::MAX).is_err());
}
