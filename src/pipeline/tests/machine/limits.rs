//! What a hostile or broken script can do to the machine: nothing.

use pipeline::act::BuildResult;
use pipeline::machine::{Machine, Status};
use pipeline::program::Program;

use crate::abort::nothing_is_left;
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

/// Work that costs a million instructions and next to no time; `work()` never ends.
const WORK: &str = "s = 'x' * 60000000\ndef work() { while (true) { s.isEmpty() } }\n";
const TOO_LONG: &str = "java.lang.Error: a loop without any step ran too long";

/// Runs a script that exceeds a limit: what it has done, which is the same in every replay.
fn exceeding(source: &str, error: &str) -> Build {
    let program = program(&format!("{WORK}{source}"));
    let mut build = Build::new(&program, &began());
    build.finish();
    let ended = build.ended.clone().unwrap_or_else(|| panic!("{source}\n{:#?}", build.story()));
    assert_eq!(ended.result, BuildResult::Failure, "{source}");
    assert!(build.error().starts_with(error), "{source}\n{}", build.error());
    nothing_is_left(&build, source);
    let replayed = Build::replayed(&program, &build.journal).unwrap();
    assert_eq!(replayed.ended, build.ended, "{source}");
    assert_eq!(replayed.acts, build.acts, "{source}");
    build
}

#[test]
fn a_loop_that_ran_too_long_cannot_be_caught() {
    for (source, story) in [
        ("while (true) { try { work() } catch (Throwable t) { } }", &[][..]),
        ("while (true) { try { work() } finally { continue } }", &[]),
        (
            "node { stage('a') { try { retry(3) { catchError { work() } } } finally { echo 'no'; sh 'no' } } }",
            &["node any", "{ a", "} Failure", "release"],
        ),
        ("1.upto(1000000000000, s.&isEmpty)", &[]),
        ("timeout(1) { [1].each { work() } }", &["timer 60000", "cancel timer"]),
        (
            "pipeline { agent any\n stages { stage('a') { steps { script { work() } }\n post { always { echo 'no' } } }\n stage('b') { steps { echo 'no' } } }\n post { always { echo 'no' } } }",
            &["node any", "{ a", "} Failure", "release"],
        ),
    ] {
        assert_eq!(exceeding(source, TOO_LONG).story(), story, "{source}");
    }
}

#[test]
fn a_loop_that_ran_too_long_ends_the_other_branches() {
    let build = exceeding(
        "node { try { parallel(a: { try { sh 'hang' } finally { echo 'no' } }, b: { 5.times { sleep 1 }; work() }, c: { stage('c') { while (true) { try { sleep 1; echo 'c' } catch (e) { } } } }, d: { try { parallel(e: { sh 'hang' }) } finally { work() } }) } finally { sh 'no' } }",
        TOO_LONG,
    );
    assert_eq!(build.scripts(), ["hang", "hang"]);
    assert!(!build.echoes().contains(&"no".to_owned()), "{:#?}", build.story());
}

#[test]
fn a_full_heap_cannot_be_caught() {
    let fill = "def l = []; while (true) { l << 'x' * 1000000 }";
    for source in [
        format!("while (true) {{ try {{ {fill} }} catch (Throwable t) {{ echo 'no' }} }}"),
        format!("stage('a') {{ try {{ {fill} }} finally {{ echo 'no' }} }}"),
        format!(
            "parallel(a: {{ stage('a') {{ sleep 1; {fill} }} }}, b: {{ node {{ sh 'hang'; echo 'no' }} }})"
        ),
    ] {
        let build =
            exceeding(&source, "java.lang.OutOfMemoryError: the variables of this build take more than");
        assert!(!build.echoes().contains(&"no".to_owned()), "{:#?}", build.story());
    }
}

#[test]
fn an_abort_of_a_build_that_exceeds_a_limit_is_an_abort() {
    let program = program(&format!("{WORK}node {{ try {{ sh 'hang' }} finally {{ work() }} }}"));
    let mut build = Build::new(&program, &began());
    build.finish();
    build.abort("alice");
    build.finish();
    assert_eq!(build.result(), BuildResult::Aborted);
    assert!(build.error().starts_with(TOO_LONG), "{}", build.error());
    nothing_is_left(&build, "abort");
}
