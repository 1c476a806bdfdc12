//! HTTP: Jenkins-compatible REST, agents, peers, the page.
