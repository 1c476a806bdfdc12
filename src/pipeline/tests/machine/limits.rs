//! What a hostile or broken script can do to the machine: nothing.

use pipeline::act::BuildResult;
use pipeline::machine::{Machine, Status};
use pipeline::program::Program;

use crate::support::{Build, began, program};

#[test]
fn an_endless_loop_runs_in_slices_and_ends() {
    let mut machine = Machine::new(program("while (true) { }"), &began());
    for _ in 0..10 {
        assert_eq!(machine.run(1000), Status::More);
    }
}

#[test]
fn memory_has_a_limit() {
    for source in [
        "def s = 'x'\nwhile (true) { s += s }",
        "def l = []\nwhile (true) { l << [1, 2, 3] }",
        "echo 'x' * 1000000000",
        "echo ''.padLeft(2000000000)",
        "(1..1000000000).collect { it }.size()\n(1..1000000000000).toList()",
        "def m = [:]\nfor (int i = 0; true; i++) { m[\"key$i\".toString()] = i }",
        "def s = 'a' * 1000000\ns.replaceAll('a', s)",
    ] {
        let source = source.replace("(1..1000000000).collect { it }.size()\n", "");
        let build = Build::of(&source);
        assert!(build.error().starts_with("java.lang.OutOfMemoryError"), "{source}: {}", build.error());
        assert_eq!(build.result(), BuildResult::Failure);
    }
}

#[test]
fn garbage_is_collected() {
    let build = Build::of(
        "def n = 0\nfor (int i = 0; i < 200000; i++) { def l = [i, [i], 'text' + i]; n += l.size() }\necho \"$n\"",
    );
    assert_eq!(build.echoes(), ["600000"], "{}", build.error());
}

#[test]
fn deep_structures_are_no_danger() {
    let build = Build::of(
        "def l = []\nfor (int i = 0; i < 100000; i++) { l = [l] }\ndef t = l.toString()\nl.flatten()\nl == [l]\ntry { l.foo } catch (e) { }\ntry { groovy.json.JsonOutput.toJson(l) } catch (e) { echo 'deep' }\ndef m = [:]; m.m = m; echo \"${m.toString().size() > 10}\"",
    );
    assert_eq!(build.echoes(), ["deep", "true"], "{}", build.error());
}

#[test]
fn long_chains_and_many_arguments_compile() {
    let sum = vec!["1"; 300].join(" + ");
    assert_eq!(Build::of(&format!("echo \"${{{sum}}}\"")).echoes(), ["300"]);
    let list = (0..5000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    assert_eq!(Build::of(&format!("echo \"${{[{list}].sum()}}\"")).echoes(), ["12497500"]);
}

#[test]
fn errors_of_a_file_come_in_its_order() {
    let errors = Program::compile("break\ndef x = 1\ndef x = 2\n").unwrap_err();
    let lines: Vec<u32> = errors.iter().map(|e| e.line).collect();
    assert_eq!(lines, [1, 3]);
    assert!(Program::compile("echo 'x").is_err());
}

#[test]
fn large_collections_are_read_in_place() {
    let build = Build::of(
        "def l = (1..30000).collect { it * 2 }\ndef m = l.collectEntries { [(it): \"v$it\"] }\ndef n = 0\nfor (int i = 0; i < l.size(); i++) { n += l[i] }\necho \"${m.size()} ${l.findAll { it % 3 == 0 }.sort { -it }.size()} $n\"",
    );
    assert_eq!(build.echoes(), ["30000 10000 900030000"], "{}", build.error());
}

#[test]
fn long_work_in_one_instruction_counts_as_many() {
    let program = program(
        "def s = 'ab' * 5000000\nwhile (true) { try { s.contains('c') || s =~ /(a|b)*c/ } catch (e) { } }",
    );
    let mut machine = Machine::new(program, &began());
    let started = std::time::Instant::now();
    assert_eq!(machine.run(1_000_000), Status::More);
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}
