//! The contract, told by the memory store, also through a failing store that does not fail.

use std::path::Path;

use store::{Failing, Memory, MemoryObjects};

async fn fresh() -> Option<(Memory, ())> {
    Some((Memory::new(), ()))
}

async fn fresh_objects() -> Option<(MemoryObjects, ())> {
    Some((MemoryObjects::new(), ()))
}

mod memory {
    use super::fresh;
    store::contract_suite!(fresh);
}

mod memory_objects {
    use super::fresh_objects;
    store::contract_suite_of_objects!(fresh_objects);
}

mod through_failing {
    use super::*;

    async fn wrapped() -> Option<(Failing<Memory>, ())> {
        Some((Failing::new(Memory::new()), ()))
    }

    store::contract_suite!(wrapped);
}

#[test]
fn every_story_is_in_the_list() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract");
    let list = std::fs::read_to_string(folder.join("mod.rs")).unwrap();
    let mut stories = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        if ["mod.rs", "support.rs", "life.rs"].iter().any(|other| path.ends_with(other)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            if let Some((story, _)) = line.strip_prefix("pub async fn ").and_then(|rest| rest.split_once('<'))
            {
                assert!(list.contains(&format!(" {story},\n")), "{story} of {} is not told", path.display());
                stories += 1;
            }
        }
    }
    let listed = list.lines().filter(|line| line.starts_with("                ") && line.ends_with(','));
    assert_eq!(listed.count(), stories, "the list names what is not there");
}
