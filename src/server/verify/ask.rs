//! Asks agents about the spools of a build: several agents at once, each one question after the other, for as long as the
//! check has time.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use model::BuildId;
use remoting::spools::{SpoolsAsked, SpoolsOf, SpoolsTold};
use tokio::time::{Instant, timeout_at};

use super::spools::{Agent, question};
use crate::ports;

/// Agents that are asked at the same time.
const AT_ONCE: usize = 8;
/// What is said of an agent that could not be asked in time, or did not answer in time.
const OVER: &str = "the time of the check was over before it answered";

/// Questions and answers, up to the first question that was not answered.
pub(super) type Answers = Vec<(SpoolsAsked, Result<SpoolsTold, String>)>;

/// All answers, in the order of the agents. After `until` nobody is asked or waited for.
pub(super) async fn all(
    spools: &Arc<dyn ports::Spools>,
    questions: Vec<(Agent, Vec<SpoolsAsked>)>,
    until: Instant,
) -> Vec<(Agent, Answers)> {
    let asking = questions.into_iter().map(|(agent, questions)| {
        let spools = Arc::clone(spools);
        async move {
            let answers = one(&*spools, &agent, questions, until).await;
            (agent, answers)
        }
    });
    stream::iter(asking).buffered(AT_ONCE).collect().await
}

/// Whether one of the agents says that it keeps something of the build.
pub(super) async fn kept(
    spools: &Arc<dyn ports::Spools>,
    build: BuildId,
    agents: Vec<Agent>,
    until: Instant,
) -> Kept {
    let questions = agents.into_iter().map(|agent| (agent, vec![question(build, Vec::new())]));
    let answers = all(spools, questions.collect(), until).await;
    let keeps = |told: &Result<SpoolsTold, String>| matches!(told, Ok(SpoolsTold::Kept { .. }));
    match answers.iter().any(|(_, answers)| answers.iter().any(|(_, told)| keeps(told))) {
        true => Kept::Some,
        false => Kept::None(answers),
    }
}

/// What agents say that they keep of a build.
pub(super) enum Kept {
    Some,
    /// Each says that it keeps nothing, or could not be asked: which of both, and why, is in the answers.
    None(Vec<(Agent, Answers)>),
}

async fn one(
    spools: &dyn ports::Spools,
    agent: &Agent,
    questions: Vec<SpoolsAsked>,
    until: Instant,
) -> Answers {
    let mut answers = Vec::new();
    for asked in questions {
        let (node, instance) = (agent.node.clone(), agent.instance.clone());
        let of = SpoolsOf { node, instance, asked };
        let told = match Instant::now() < until {
            true => timeout_at(until, spools.ask(&of)).await.unwrap_or_else(|_| Err(OVER.to_owned())),
            false => Err(OVER.to_owned()),
        };
        let more = matches!(told, Ok(SpoolsTold::Kept { .. }));
        answers.push((of.asked, told));
        if !more {
            break;
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::NodeName;
    use parking_lot::Mutex;

    use super::*;

    /// Those that were asked. None of them ever answers.
    #[derive(Default)]
    struct Silent(Mutex<Vec<NodeName>>);

    #[async_trait::async_trait]
    impl ports::Spools for Silent {
        async fn ask(&self, of: &SpoolsOf) -> Result<SpoolsTold, String> {
            self.0.lock().push(of.node.clone());
            std::future::pending().await
        }

        async fn ask_here(&self, _: &SpoolsOf) -> Result<SpoolsTold, String> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn when_the_time_is_over_nobody_is_asked_or_waited_for() {
        let agent = |n: usize| Agent {
            node: NodeName::parse(&format!("agent-{n}")).unwrap(),
            instance: String::new(),
        };
        let questions =
            || (0..2 * AT_ONCE).map(|n| (agent(n), vec![question(BuildId(1), vec![]); 3])).collect();
        for (left, most) in [(Duration::ZERO, 0), (Duration::from_millis(20), AT_ONCE)] {
            let silent = Arc::new(Silent::default());
            let spools = Arc::clone(&silent) as Arc<dyn ports::Spools>;
            let answers = all(&spools, questions(), Instant::now() + left).await;
            assert_eq!(answers.len(), 2 * AT_ONCE);
            for (n, (asked, told)) in answers.into_iter().enumerate() {
                assert_eq!((asked, told.len()), (agent(n), 1));
                assert_eq!(told[0].1, Err(OVER.to_owned()));
            }
            assert!(silent.0.lock().len() <= most, "{:?}", silent.0.lock());
        }
    }
}
