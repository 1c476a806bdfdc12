//! The conditions of a controller: which there are, and which reasons each may have. Users wait for them and alert on them, so
//! a word that was written once keeps its meaning.

use crate::words::words;

words! {
    /// What a condition is about.
    pub enum ConditionType {
        /// all replicas that are wanted serve.
        Ready,
        /// the store answers.
        StoreReady,
        /// what the store has said yes to survives the loss of one of its machines.
        StoreDurable,
        /// users and agents can reach the controller.
        Exposed,
        /// replicas start for the first time, are being replaced, or are to be.
        Progressing,
        /// the last revision was given up, and the one before runs.
        RolledBack,
        /// the spec, what it refers to and the configuration as code can be honoured. While they can't, the last good ones go on.
        ConfigurationValid,
        /// all replicas run the plugins of the list.
        PluginsLoaded,
    }
}

words! {
    /// Why a condition is as it is.
    pub enum Reason {
        /// all replicas that are wanted serve.
        AllReady,
        /// some serve.
        SomeReady,
        /// none serves.
        NoneReady,
        /// one serves, and waits for a user to end the setup wizard.
        Setup,
        /// none is wanted.
        Stopped,
        /// it is being removed.
        Deleting,

        /// the store answers.
        StoreAnswers,
        /// the operator has made it, and it is not there yet.
        StoreStarting,
        /// nobody answers at its address.
        StoreUnreachable,
        /// it does not take the user or the password.
        CredentialsRefused,
        /// it belongs to another controller.
        DatabaseTaken,
        /// it is empty, and this controller has run before: it is another one, or was lost.
        DatabaseEmpty,
        /// the node of the PostgreSQL that the operator has made does not answer.
        NodeLost,
        /// its volume is being made larger.
        StorageGrowing,
        /// its storage class can't make volumes larger.
        StorageFixed,

        /// a commit waits for a second machine.
        Replicated,
        /// copies follow later: what was committed last may be lost with its machine.
        AsynchronousReplicas,
        /// there is one copy.
        SingleCopy,
        /// the database does not say how it is copied.
        ReplicationUnknown,

        /// it has its address.
        AddressAssigned,
        /// whoever implements it has given it no address yet.
        AddressPending,
        /// neither ingress nor gateway nor route is asked for.
        NotAsked,
        /// another controller has this host.
        HostTaken,
        /// the cluster does not know such objects: what defines them must be installed.
        ApiMissing,
        /// there is no such class.
        ClassMissing,

        /// all replicas run what is wanted.
        Settled,
        /// replicas start for the first time.
        FirstStart,
        /// nothing can be started while something is missing: ConfigurationValid or StoreReady says what.
        Blocked,
        /// replicas are being replaced.
        Rolling,
        /// it waits until nothing runs.
        WaitingForIdle,
        /// it waits for its window.
        WaitingForWindow,
        /// somebody has said `paused: true`.
        Paused,
        /// the new revision does not become ready; the one before comes back.
        GoingBack,
        /// it has gone back; another revision must be asked for, unless only its image could not be had.
        Halted,
        /// no node takes the pods.
        Unschedulable,

        /// no revision was given up.
        NothingFailed,
        /// a replica was not ready in time.
        NotReadyInTime,
        /// a replica ends again and again.
        ReplicaEnds,
        /// the image can't be pulled.
        ImageRefused,
        /// the image is another product, or one that can't read what is there.
        ImageUnfit,

        /// all can be honoured.
        Valid,
        /// a Secret is missing, or a key of it.
        SecretMissing,
        /// a ConfigMap is missing, or a key of it.
        ConfigMapMissing,
        /// there is no such storage class.
        StorageClassMissing,
        /// there is no such volume claim.
        ClaimMissing,
        /// one node only can mount the volume, and there are several replicas.
        VolumeNotShared,
        /// the annotation majordomo.dev/restartedAt holds no time.
        RestartedAtInvalid,
        /// trustedProxies holds what is no address and no network.
        TrustedProxiesInvalid,
        /// the configuration as code is wrong.
        ConfigurationRefused,
        /// an older controller has objects of the names that this one's would have.
        NameTaken,
        /// Kubernetes refuses an object as podTemplate or another field makes it.
        ObjectRefused,
        /// this version of the operator can't honour a field.
        NotSupported,

        /// the list is empty.
        NoPlugins,
        /// this version has no plugin runtime.
        NoRuntime,
    }
}

impl ConditionType {
    /// Those that it may have.
    pub fn reasons(self) -> &'static [Reason] {
        use Reason::*;
        match self {
            ConditionType::Ready => &[AllReady, SomeReady, NoneReady, Setup, Stopped, Deleting],
            ConditionType::StoreReady => &[
                StoreAnswers,
                StoreStarting,
                StoreUnreachable,
                CredentialsRefused,
                DatabaseTaken,
                DatabaseEmpty,
                NodeLost,
                SecretMissing,
                StorageClassMissing,
                StorageGrowing,
                StorageFixed,
                ApiMissing,
            ],
            ConditionType::StoreDurable => {
                &[Replicated, AsynchronousReplicas, SingleCopy, ReplicationUnknown]
            }
            ConditionType::Exposed => &[
                AddressAssigned,
                AddressPending,
                NotAsked,
                HostTaken,
                ApiMissing,
                ClassMissing,
                SecretMissing,
            ],
            ConditionType::Progressing => &[
                Settled,
                FirstStart,
                Blocked,
                Rolling,
                WaitingForIdle,
                WaitingForWindow,
                Paused,
                GoingBack,
                Halted,
                Unschedulable,
                ImageRefused,
                ImageUnfit,
                ReplicaEnds,
                ObjectRefused,
                Deleting,
            ],
            ConditionType::RolledBack => {
                &[NothingFailed, NotReadyInTime, ReplicaEnds, ImageRefused, ImageUnfit, ObjectRefused]
            }
            ConditionType::ConfigurationValid => &[
                Valid,
                SecretMissing,
                ConfigMapMissing,
                StorageClassMissing,
                ClaimMissing,
                VolumeNotShared,
                RestartedAtInvalid,
                TrustedProxiesInvalid,
                ConfigurationRefused,
                NameTaken,
                HostTaken,
                DatabaseTaken,
                ApiMissing,
                ClassMissing,
                ObjectRefused,
                NotSupported,
            ],
            ConditionType::PluginsLoaded => &[NoPlugins, NoRuntime],
        }
    }

    /// How it may be for months while nobody has to do anything, the usual one first.
    pub fn at_rest(self) -> &'static [(&'static str, Reason)] {
        match self {
            ConditionType::Ready => &[("True", Reason::AllReady), ("False", Reason::Stopped)],
            ConditionType::StoreReady => &[("True", Reason::StoreAnswers)],
            ConditionType::StoreDurable => &[
                ("True", Reason::Replicated),
                ("False", Reason::AsynchronousReplicas),
                ("False", Reason::SingleCopy),
                ("Unknown", Reason::ReplicationUnknown),
            ],
            ConditionType::Exposed => &[("True", Reason::AddressAssigned), ("Unknown", Reason::NotAsked)],
            ConditionType::Progressing => &[("False", Reason::Settled)],
            ConditionType::RolledBack => &[("False", Reason::NothingFailed)],
            ConditionType::ConfigurationValid => &[("True", Reason::Valid)],
            ConditionType::PluginsLoaded => &[("True", Reason::NoPlugins)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conditions.md");
    const BEGIN: &str = "<!-- conditions: written by src/resource/condition.rs -->\n";
    const END: &str = "<!-- end -->";

    fn tables() -> String {
        let mut text = "| condition | what is so while it is True | at rest |\n|---|---|---|\n".to_owned();
        for of in ConditionType::ALL {
            let rest: Vec<_> =
                of.at_rest().iter().map(|(status, reason)| format!("{status} ({reason})")).collect();
            let rest = rest.join(", ");
            text.push_str(&format!("| `{of}` | {} | {rest} |\n", of.meaning().trim_end_matches('.')));
        }
        for of in ConditionType::ALL {
            text.push_str(&format!("\n### {of}\n\n| reason | meaning |\n|---|---|\n"));
            for reason in of.reasons() {
                text.push_str(&format!("| `{reason}` | {} |\n", reason.meaning().trim_end_matches('.')));
            }
        }
        text
    }

    #[test]
    fn every_condition_is_documented_as_it_is_told() {
        let text = std::fs::read_to_string(FILE).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (documented, after) = rest.split_once(END).unwrap();
        if std::env::var_os("MAJORDOMO_BLESS").is_some() {
            std::fs::write(FILE, format!("{before}{BEGIN}{}{END}{after}", tables())).unwrap();
        } else {
            assert_eq!(
                documented,
                tables(),
                "docs/conditions.md is out of date; MAJORDOMO_BLESS=1 writes it"
            );
        }
    }

    #[test]
    fn what_is_said_at_rest_is_a_reason_of_the_condition() {
        for of in ConditionType::ALL {
            assert!(!of.at_rest().is_empty(), "{of}");
            for (status, reason) in of.at_rest() {
                assert!(of.reasons().contains(reason), "{of}: {reason}");
                assert!(["True", "False", "Unknown"].contains(status), "{of}: {status}");
            }
        }
    }

    #[test]
    fn each_reason_belongs_to_a_condition_and_no_condition_has_one_twice() {
        for reason in Reason::ALL {
            assert!(ConditionType::ALL.iter().any(|of| of.reasons().contains(reason)), "{reason}");
        }
        for of in ConditionType::ALL {
            let mut reasons: Vec<_> = of.reasons().iter().map(|reason| reason.as_str()).collect();
            let all = reasons.len();
            reasons.sort_unstable();
            reasons.dedup();
            assert_eq!((reasons.len(), all > 1), (all, true), "{of}");
        }
    }
}
