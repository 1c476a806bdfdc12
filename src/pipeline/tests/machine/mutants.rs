//! Whatever a script says, the machine answers with values, exceptions or diagnostics, and never with a panic.

use std::sync::Arc;

use pipeline::program::Program;

use crate::corpus::CORPUS;
use crate::support::{Build, began};

/// Pieces that meet each other in places where they were not meant to be.
const PIECES: &[&str] = &[
    "null",
    "0",
    "-1",
    "9223372036854775807",
    "1.5",
    "1e20",
    "''",
    "'é😀x'",
    "\"${x}\"",
    "[]",
    "[:]",
    "[1, [2]]",
    "[a: 1]",
    "(1..3)",
    "('a'..'c')",
    "{ it }",
    "{ a, b -> a }",
    "x",
    "x.size()",
    "x[0]",
    "x[-9]",
    "x[1..9]",
    "x['é']",
    "x.substring(1)",
    "x.take(-3)",
    "x =~ /(.)(é)?/",
    "(x =~ /./)[0]",
    "x.replaceAll(/./, '$0$0')",
    "x * 3",
    "x * -1",
    "x - 1",
    "x / 0",
    "x % 0",
    "x ** 2",
    "x << 1",
    "x <=> 1",
    "x == 'a'",
    "x as int",
    "x as List",
    "x as Set",
    "x instanceof String",
    "x?.y",
    "x*.z",
    "x.each { echo \"$it\" }",
    "x.collect { it }",
    "x.sort()",
    "x.sort { a, b -> a <=> b }",
    "x.find { it }",
    "x.inject { a, b -> a }",
    "x.join(',')",
    "x.max()",
    "x.tokenize('é')",
    "x.split('')",
    "x.padLeft(5, '')",
    "x.indexOf('x', 99)",
    "x.remove(0)",
    "x.get(7)",
    "x.add(0, 1)",
    "x.set(5, 1)",
    "x.collate(0)",
    "x.transpose()",
    "x.subList(1, 9)",
    "x.toInteger()",
    "x.intdiv(0)",
    "x.abs()",
    "String.format('%5.2f %s %d', x, x)",
    "Integer.parseInt(x, 99)",
    "x++",
    "x += 1",
    "x = [x, x]",
    "x.x = 1",
    "x[2] = 5",
    "throw x",
    "new Exception(x)",
    "error(x)",
    "echo(x)",
    "sh(x)",
    "parallel(x)",
    "parallel(a: x)",
    "node(x)",
    "timeout(x) { }",
    "retry(x) { }",
    "stage(x) { }",
    "sleep(x)",
    "withEnv(x) { }",
    "dir(x) { }",
    "catchError(x) { error 'e' }",
    "checkout(x)",
    "env.A = x",
    "currentBuild.result = x",
    "x()",
    "x.call(1, 2)",
    "x.curry(1)()",
    "x.with { size() }",
    "x.tap { it }",
    "\"\".\"$x\"()",
    "x.class.name",
    "x.toString().bytes",
    "groovy.json.JsonOutput.toJson(x)",
    "JsonOutput.prettyPrint(x)",
    "x.format('yyyy')",
    "new Date(x)",
    "for (i in x) { echo \"$i\" }",
    "switch (x) { case [1]: break; case ~/a/: echo 'a'; default: x }",
    "def (p, q) = x",
    "x.groupBy { it }",
    "x.unique { a, b -> 0 }",
    "x.times { }",
    "x.upto(x) { }",
    "x.step(5, 0) { }",
    "x.step(3, 1) { }",
    "x.eachWithIndex { a, i -> i }",
    "x.chars()",
    "x.center(9, 'é')",
    "x.stripIndent()",
    "x.decodeBase64()",
    "x.swap(0, 9)",
    "x.flatten()",
    "-x",
    "~x",
    "!x",
    "+x",
    "x in x",
];

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

fn survives(source: &str) -> bool {
    let Ok(program) = Program::compile(source) else { return false };
    let mut build = Build::new(&Arc::new(program), &began());
    build.patience = 20;
    for _ in 0..200 {
        if !build.advance() {
            break;
        }
    }
    true
}

#[test]
fn every_piece_meets_every_value() {
    for value in &PIECES[..16] {
        for piece in PIECES {
            survives(&format!(
                "def x = {value}\ndef y = {{ {piece} }}\nnode {{ try {{ def r = y(); echo \"$r\" }} catch (Throwable e) {{ echo \"${{e.message}}\" }} }}"
            ));
        }
    }
}

#[test]
fn programs_made_of_pieces_do_no_harm() {
    let seed =
        std::env::var("MAJORDOMO_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x9E37_79B9_7F4A_7C15);
    let mut dice = Dice(seed);
    let mut compiled = 0;
    for _ in 0..1_500 {
        let mut source = String::from("def x = [1, 'é']\nnode {\n");
        for _ in 0..1 + dice.roll(8) {
            let piece = PIECES[dice.roll(PIECES.len())];
            match dice.roll(4) {
                0 => source.push_str(&format!(
                    "try {{ {piece} }} catch (e) {{ echo \"$e\" }} finally {{ x = 3 }}\n"
                )),
                1 => source.push_str(&format!("x = {piece}\n")),
                2 => source.push_str(&format!("[1, 2].each {{ x -> {piece} }}\n")),
                _ => source.push_str(&format!("{piece}\n")),
            }
        }
        source.push('}');
        compiled += usize::from(survives(&source));
    }
    assert!(compiled > 300, "seed {seed}: only {compiled} programs compiled");
}

#[test]
fn torn_pipelines_do_no_harm() {
    let mut dice = Dice(42);
    for source in CORPUS {
        for _ in 0..40 {
            let mut words: Vec<&str> = source.split_inclusive([' ', '\n']).collect();
            let at = dice.roll(words.len());
            match dice.roll(3) {
                0 => drop(words.remove(at)),
                1 => words.insert(at, PIECES[dice.roll(PIECES.len())]),
                _ => {
                    let other = dice.roll(words.len());
                    words.swap(at, other);
                }
            }
            survives(&words.concat());
        }
    }
}
