//! The list of all reads but those of logs, once: from it the stores that only pass them on are made.

/// Hands each of these traits with its methods to the macro `$with`, which makes the implementations.
macro_rules! for_all_reads {
    ($with:ident) => {
        $with! { Cluster {
            meta() -> Meta;
            members() -> Vec<Member>;
            leases() -> Vec<Lease>;
            failovers(limit: u32) -> Vec<Failover>;
        } }
        $with! { Users {
            user(id: &str) -> Option<User>;
            users(after: Option<&str>, limit: u32) -> Vec<User>;
            session(hash: &Hidden) -> Option<Session>;
            sessions(user: &str) -> Vec<Session>;
            token(hash: &Hidden) -> Option<ApiToken>;
            tokens(user: &str) -> Vec<ApiToken>;
            anonymous_read() -> bool;
        } }
        $with! { Items {
            item(name: &JobName) -> Option<Item>;
            children(parent: Option<&JobName>, after: Option<&JobName>, limit: u32) -> Vec<ItemSummary>;
            job_counts() -> JobCounts;
        } }
        $with! { Builds {
            build(job: &JobName, which: Which) -> Option<Build>;
            build_by_id(id: BuildId) -> Option<Build>;
            builds(job: &JobName, below: Option<u64>, limit: u32) -> Vec<Build>;
            tallies(after: i64, limit: u32) -> Vec<Tally>;
            running(owner: Option<i64>) -> Vec<Running>;
            over(builds: &[BuildId]) -> Vec<BuildId>;
            journal(build: BuildId, from: i64) -> Vec<Bytes>;
            journal_numbers(build: BuildId, from: i64) -> Vec<i64>;
            recorded(build: BuildId) -> Option<i64>;
            source(hash: &str) -> Option<String>;
            inbox(build: BuildId) -> Vec<InboxRow>;
            with_inbox(owner: i64) -> Vec<BuildId>;
            raw_offsets(build: BuildId) -> Vec<(String, u64)>;
            to_archive(after: Option<BuildId>, limit: u32) -> Vec<BuildId>;
            archived(build: BuildId) -> Option<ArchivedLog>;
            artifacts(build: BuildId, after: Option<&str>, limit: u32) -> Vec<Artifact>;
            with_artifacts(builds: &[BuildId]) -> Vec<BuildId>;
            artifact(build: BuildId, path: &str) -> Option<Artifact>;
            stash(build: BuildId, name: &str) -> Option<Stash>;
            garbage(limit: u32) -> Vec<String>;
        } }
        $with! { Queue {
            queue() -> Vec<QueueItem>;
            queue_item(id: QueueId) -> Option<QueueItem>;
            waits() -> Vec<Wait>;
            waits_of(build: BuildId) -> Vec<Wait>;
            wait_labels() -> Vec<String>;
            first_waits(label: &str, most: u32) -> Vec<Wait>;
            slots() -> Vec<(NodeName, u32)>;
            busy() -> Vec<Busy>;
        } }
        $with! { Nodes {
            nodes() -> Vec<Node>;
            node(name: &NodeName) -> Option<Node>;
            links() -> Vec<Link>;
            link_numbers() -> Vec<(NodeName, i64, Option<ReplicaId>)>;
            link(node: &NodeName) -> Option<Link>;
        } }
    };
}
