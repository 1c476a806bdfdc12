//! Asks agents about the spools of a build: several agents at once, each one question after the other.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use model::BuildId;
use remoting::spools::{SpoolsAsked, SpoolsOf, SpoolsTold};

use super::spools::{Agent, question};
use crate::ports;

/// Agents that are asked at the same time.
const AT_ONCE: usize = 8;

/// Questions and answers, up to the first question that was not answered.
pub(super) type Answers = Vec<(SpoolsAsked, Result<SpoolsTold, String>)>;

/// All answers, in the order of the agents.
pub(super) async fn all(
    spools: &Arc<dyn ports::Spools>,
    questions: Vec<(Agent, Vec<SpoolsAsked>)>,
) -> Vec<(Agent, Answers)> {
    let asking = questions.into_iter().map(|(agent, questions)| {
        let spools = Arc::clone(spools);
        async move {
            let answers = one(&*spools, &agent, questions).await;
            (agent, answers)
        }
    });
    stream::iter(asking).buffered(AT_ONCE).collect().await
}

/// Whether one of the agents keeps something of the build.
pub(super) async fn kept(spools: &Arc<dyn ports::Spools>, build: BuildId, agents: Vec<Agent>) -> Kept {
    let questions = agents.into_iter().map(|agent| (agent, vec![question(build, Vec::new())]));
    let answers = all(spools, questions.collect()).await;
    let keeps = |told: &Result<SpoolsTold, String>| matches!(told, Ok(SpoolsTold::Kept { .. }));
    match answers.iter().any(|(_, answers)| answers.iter().any(|(_, told)| keeps(told))) {
        true => Kept::Some,
        false => Kept::None(answers),
    }
}

/// What agents keep of a build.
pub(super) enum Kept {
    Some,
    /// What they have said.
    None(Vec<(Agent, Answers)>),
}

async fn one(spools: &dyn ports::Spools, agent: &Agent, questions: Vec<SpoolsAsked>) -> Answers {
    let mut answers = Vec::new();
    for asked in questions {
        let (node, instance) = (agent.node.clone(), agent.instance.clone());
        let of = SpoolsOf { node, instance, asked };
        let told = spools.ask(&of).await;
        let more = matches!(told, Ok(SpoolsTold::Kept { .. }));
        answers.push((of.asked, told));
        if !more {
            break;
        }
    }
    answers
}
