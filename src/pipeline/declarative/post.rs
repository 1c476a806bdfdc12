//! `post { always { … } … }`

use super::Checker;
use super::section::{Once, Section};
use crate::ast::{Post, PostCondition};

const CONDITIONS: &str = "[always, changed, fixed, regression, aborted, success, unsuccessful, unstable, failure, notBuilt, cleanup]";

impl Checker<'_> {
    /// The conditions in the order in which they run.
    pub(super) fn post(&mut self, section: &Section<'_>) -> Vec<Post> {
        let Some(body) = self.filled_block(section) else { return Vec::new() };
        let mut once = Once::default();
        let mut posts = Vec::new();
        for section in self.sections(body, "Not a valid condition") {
            let Some(condition) = condition(section.name) else {
                let message =
                    format!("Invalid condition \"{}\" - valid conditions are {CONDITIONS}", section.name);
                self.error(section.pos, message);
                continue;
            };
            if !once.add(section.name) {
                self.error(section.pos, format!("Duplicate build condition name: \"{}\"", section.name));
            }
            let Some(body) = self.block(&section) else { continue };
            self.steps(section.pos, body);
            posts.push(Post { pos: section.pos, condition, body: body.to_vec() });
        }
        posts.sort_by_key(|post| post.condition);
        posts
    }
}

fn condition(name: &str) -> Option<PostCondition> {
    Some(match name {
        "always" => PostCondition::Always,
        "changed" => PostCondition::Changed,
        "fixed" => PostCondition::Fixed,
        "regression" => PostCondition::Regression,
        "aborted" => PostCondition::Aborted,
        "failure" => PostCondition::Failure,
        "success" => PostCondition::Success,
        "unstable" => PostCondition::Unstable,
        "unsuccessful" => PostCondition::Unsuccessful,
        "notBuilt" => PostCondition::NotBuilt,
        "cleanup" => PostCondition::Cleanup,
        _ => return None,
    })
}
