//! A TCP proxy whose connections can be cut, or left open while nothing passes.
#![allow(dead_code, clippy::unwrap_used, reason = "test support; no test uses all of it")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    links: Mutex<Vec<Link>>,
    ended: AtomicBool,
}

struct Link {
    ends: [TcpStream; 2],
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Nothing passes any more, and nobody is told.
    stalled: AtomicBool,
    ended: AtomicBool,
}

impl Proxy {
    pub(crate) fn start(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { to, links: Mutex::default(), ended: AtomicBool::new(false) });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                accepting.join(near);
            }
        });
        Proxy { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections; gives how many there were.
    pub(crate) fn cut(&self) -> usize {
        let links = std::mem::take(&mut *self.shared.links.lock().unwrap());
        let alive = links.iter().filter(|link| link.alive()).count();
        links.iter().for_each(Link::end);
        alive
    }

    /// From now on nothing passes on the connections that there are; gives how many there were.
    pub(crate) fn stall(&self) -> usize {
        let links = self.shared.links.lock().unwrap();
        let alive = links.iter().filter(|link| link.alive());
        alive.inspect(|link| link.state.stalled.store(true, Ordering::Relaxed)).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.cut();
        let _woken = TcpStream::connect(self.address);
    }
}

impl Link {
    fn end(&self) {
        self.state.ended.store(true, Ordering::Relaxed);
        for end in &self.ends {
            let _gone = end.shutdown(Shutdown::Both);
        }
    }

    /// Neither ended nor stalled.
    fn alive(&self) -> bool {
        !self.state.ended.load(Ordering::Relaxed) && !self.state.stalled.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn join(self: &Arc<Shared>, near: TcpStream) {
        let Ok(far) = TcpStream::connect(self.to) else { return };
        let _slower = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
        let state = Arc::new(State::default());
        let pair = || (near.try_clone().unwrap(), far.try_clone().unwrap());
        for (from, to) in [pair(), {
            let (near, far) = pair();
            (far, near)
        }] {
            let state = Arc::clone(&state);
            std::thread::spawn(move || copy(from, to, &state));
        }
        let mut links = self.links.lock().unwrap();
        links.retain(|link| !link.state.ended.load(Ordering::Relaxed));
        links.push(Link { ends: [near, far], state });
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        while state.stalled.load(Ordering::Relaxed) && !state.ended.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
        if state.ended.load(Ordering::Relaxed) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    state.ended.store(true, Ordering::Relaxed);
    let _gone = from.shutdown(Shutdown::Both);
    let _gone = to.shutdown(Shutdown::Both);
}
