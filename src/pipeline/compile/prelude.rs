//! The part of the library that is written in Groovy, compiled once.

use std::sync::LazyLock;

use super::Compiler;
use super::code::Image;

const SOURCES: [&str; 4] = [
    include_str!("../library/prelude/steps.groovy"),
    include_str!("../library/prelude/declarative.groovy"),
    include_str!("../library/prelude/freestyle.groovy"),
    include_str!("../library/prelude/methods.groovy"),
];

/// Never changes after it was made, so it is no state: a cache of a constant.
static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let mut image = Image::default();
    for source in SOURCES {
        let script = crate::parser::parse(source).expect("the prelude is part of this program and parses");
        let mut compiler = Compiler::new(image, true);
        compiler.script(&script);
        image = compiler.finish().expect("the prelude is part of this program and compiles");
    }
    image
});

pub(super) fn image() -> &'static Image {
    &IMAGE
}
