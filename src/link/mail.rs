//! What the parts of one link tell each other: read, write, ping, and look up lists. Of most of it only the newest counts, so
//! there are no queues: a queue takes memory while it is empty, and thousands of links are idle.

use model::{BuildId, Fence};
use parking_lot::Mutex;
use remoting::native::Frame;
use tokio::sync::Notify;

/// Lists of kept builds that wait to be looked up. One that finds no room is said again some minutes later.
const LISTS: usize = 4;

/// Builds that an agent keeps, each under the highest fence that it was shown.
pub(crate) type Kept = Vec<(BuildId, Fence)>;

#[derive(Default)]
pub(crate) struct Mail {
    held: Mutex<Held>,
    to_write: Notify,
    to_ping: Notify,
    to_look: Notify,
}

#[derive(Default)]
struct Held {
    /// To be sent, in this order.
    pong: Option<u64>,
    interval: Option<u64>,
    ping: Option<u64>,
    /// The agent's answer to the newest ping that it answered.
    answer: Option<u64>,
    lists: Vec<Kept>,
}

impl Mail {
    pub(crate) fn ping(&self, number: u64) {
        self.held.lock().ping = Some(number);
        self.to_write.notify_one();
    }

    pub(crate) fn pong(&self, number: u64) {
        self.held.lock().pong = Some(number);
        self.to_write.notify_one();
    }

    pub(crate) fn interval(&self, millis: u64) {
        self.held.lock().interval = Some(millis);
        self.to_write.notify_one();
    }

    pub(crate) fn answered(&self, number: u64) {
        self.held.lock().answer = Some(number);
        self.to_ping.notify_one();
    }

    pub(crate) fn list(&self, kept: Kept) {
        let lists = &mut self.held.lock().lists;
        if lists.len() < LISTS {
            lists.push(kept);
            self.to_look.notify_one();
        }
    }

    /// The next frame to be sent. Nothing is lost when this is given up.
    pub(crate) async fn frame(&self) -> Frame {
        loop {
            if let Some(frame) = self.held.lock().frame() {
                return frame;
            }
            self.to_write.notified().await;
        }
    }

    /// The next answer to a ping.
    pub(crate) async fn answer(&self) -> u64 {
        loop {
            if let Some(number) = self.held.lock().answer.take() {
                return number;
            }
            self.to_ping.notified().await;
        }
    }

    /// The next list that is to be looked up.
    pub(crate) async fn kept(&self) -> Kept {
        loop {
            if let Some(kept) = self.held.lock().lists.pop() {
                return kept;
            }
            self.to_look.notified().await;
        }
    }
}

impl Held {
    fn frame(&mut self) -> Option<Frame> {
        let pong = self.pong.take().map(Frame::Pong);
        let interval = || self.interval.take().map(|millis| Frame::Interval { millis });
        pong.or_else(interval).or_else(|| self.ping.take().map(Frame::Ping))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_what_was_not_sent_yet_only_the_newest_is() {
        let mail = Mail::default();
        mail.ping(1);
        mail.interval(15_000);
        mail.interval(2_000);
        mail.ping(2);
        mail.pong(7);
        let sent = [mail.frame().await, mail.frame().await, mail.frame().await];
        assert_eq!(sent, [Frame::Pong(7), Frame::Interval { millis: 2_000 }, Frame::Ping(2)]);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let mail = Mail::default();
        let (frame, answer, kept, ()) = tokio::join!(mail.frame(), mail.answer(), mail.kept(), async {
            tokio::task::yield_now().await;
            mail.ping(1);
            mail.answered(1);
            mail.list(vec![(BuildId(1), Fence::first(1))]);
        });
        assert_eq!((frame, answer, kept.len()), (Frame::Ping(1), 1, 1));
    }

    #[tokio::test]
    async fn lists_beyond_the_room_are_dropped() {
        let mail = Mail::default();
        for _ in 0..9 {
            mail.list(Kept::new());
        }
        for _ in 0..LISTS {
            mail.kept().await;
        }
        assert!(mail.held.lock().lists.is_empty());
    }
}
