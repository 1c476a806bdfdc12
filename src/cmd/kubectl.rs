//! `kubectl majordomo`: controllers on Kubernetes, seen and handled from outside.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use kubectl::{
    Cluster, Drain, Error, FailoverTest, Paint, Place, Report, Say, Undo, Verdict, Waiting, overview,
    status_text,
};
use resource::Span;

/// Name under which kubectl finds its plugin.
const PLUGIN: &str = "kubectl-majordomo";

/// Look after controllers on Kubernetes
#[derive(Debug, Parser)]
#[command(name = "kubectl majordomo", bin_name = "kubectl majordomo", version, arg_required_else_help = true)]
#[command(after_help = "Example:\n  kubectl majordomo status acme -n ci\n\n\
    It is the plugin of kubectl when the program is in the PATH as kubectl-majordomo:\n  \
    ln -s \"$(command -v majordomo)\" /usr/local/bin/kubectl-majordomo\n\n\
    Exit status: 0 it is done, 1 it did not come to what was asked for, 2 it was refused or could not be seen.")]
pub(crate) struct KubectlArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    command: Command,
}

/// Flags of kubectl.
#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// Namespace of the controller [default: that of the context]
    #[arg(short, long, global = true, value_name = "NAME")]
    namespace: Option<String>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// File that says where the cluster is and who you are [default: KUBECONFIG, ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// No colours, which only a terminal gets; NO_COLOR in the environment says the same
    #[arg(long, global = true)]
    no_color: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(StatusArgs),
    Drain(DrainArgs),
    Restart(RestartArgs),
    Rollout(RolloutArgs),
    FailoverTest(FailoverTestArgs),
    Report(ReportArgs),
    Version(VersionArgs),
}

/// Show a controller: its replicas, its rollout, what is wrong
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kubectl majordomo status acme\n  kubectl majordomo status acme -n ci -v\n  \
    kubectl majordomo status acme -o json\n\n\
    Shown are conditions that are not as they should be and Secrets that are missing; -v shows all of them, the whole history\n\
    of rollouts, and messages at full length."
)]
struct StatusArgs {
    /// Name of the HAController
    name: String,
    /// Everything
    #[arg(short, long)]
    verbose: bool,
    /// How it is written
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
    Yaml,
}

/// How long is waited.
#[derive(Debug, clap::Args)]
struct WaitArgs {
    /// Don't wait until it is done
    #[arg(long)]
    no_wait: bool,
    /// How long is waited at most, like 90s or 1h30m
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = span, conflicts_with = "no_wait")]
    timeout: Duration,
}

impl WaitArgs {
    fn waiting(&self) -> Option<Waiting> {
        (!self.no_wait).then_some(Waiting { timeout: self.timeout })
    }
}

fn span(text: &str) -> Result<Duration, String> {
    Span::parse(text).map(|Span(time)| time).ok_or_else(|| "say a time like 90s or 5m".to_owned())
}

/// Evict the pod of one replica: it hands over its builds and agents first, and comes back as a new pod
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kubectl majordomo drain acme acme-1\n  \
    kubectl majordomo drain acme acme-1 --no-wait\n\n\
    The disruption budget of the controller counts: while it has no room, the eviction is refused.")]
struct DrainArgs {
    /// Name of the HAController
    name: String,
    /// Pod of the replica, as `status` shows it
    pod: String,
    /// Also when no other replica is ready: then nobody serves
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Restart all replicas, one after the other, while builds and requests go on
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kubectl majordomo restart acme\n  kubectl majordomo restart acme --no-wait\n\n\
    It sets the annotation majordomo.dev/restartedAt; when the restart begins is what spec.rollout says.\n\
    Exit status: 1 when it was given up (it is said why) or did not end in time."
)]
struct RestartArgs {
    /// Name of the HAController
    name: String,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Pause, resume, undo or follow the rollout of a new revision
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  kubectl majordomo rollout status acme\n  kubectl majordomo rollout undo acme"
)]
struct RolloutArgs {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
enum RolloutCommand {
    /// Replace no more replicas; one that is being replaced is finished first
    #[command(after_help = "Example:\n  kubectl majordomo rollout pause acme")]
    Pause {
        /// Name of the HAController
        name: String,
    },
    /// Go on after a pause
    #[command(after_help = "Example:\n  kubectl majordomo rollout resume acme")]
    Resume {
        /// Name of the HAController
        name: String,
    },
    Undo(UndoArgs),
    /// Follow the rollout until all replicas run what is wanted, or it is given up
    #[command(after_help = "Examples:\n  kubectl majordomo rollout status acme\n  \
        kubectl majordomo rollout status acme --no-wait")]
    Status {
        /// Name of the HAController
        name: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// The same as `kubectl majordomo restart`
    Restart(RestartArgs),
    /// List the revisions that can be gone back to
    #[command(after_help = "Example:\n  kubectl majordomo rollout history acme")]
    History {
        /// Name of the HAController
        name: String,
    },
}

/// Go back to an earlier revision: the resource gets the fields that it had then
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kubectl majordomo rollout undo acme\n  \
    kubectl majordomo rollout undo acme --to-revision 3 --yes\n\n\
    Brought back are image, imagePullPolicy, imagePullSecrets, plugins, resources, podTemplate, security, objects,\n\
    trustedProxies and the annotation majordomo.dev/restartedAt. What else was another one then (the address, the store,\n\
    keys) is named and stays.\n\
    Whatever keeps the resource in step with a file elsewhere must be told, too.")]
struct UndoArgs {
    /// Name of the HAController
    name: String,
    /// Number of the revision, as `rollout history` lists it [default: the one before]
    #[arg(long, value_name = "N")]
    to_revision: Option<i64>,
    /// Don't ask first
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Delete the pod of a replica at once, and follow how its builds go on and it comes back
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kubectl majordomo failover-test acme\n  \
    kubectl majordomo failover-test acme --replica acme-1 --yes\n\n\
    All replicas must be ready, and at least two. The pod gets no chance to hand over. The test tells when the others noticed,\n\
    how many builds went on, and when the pod was ready again. It reads the resource and pods only: whether logs are whole is\n\
    what `majordomo verify-log JOB NUMBER --url URL` checks.\n\n\
    Exit status: 0 the loss was survived, 1 it was not, 2 it was refused, or not all could be seen.")]
struct FailoverTestArgs {
    /// Name of the HAController
    name: String,
    /// Which pod; without it, that of the replica with most builds
    #[arg(long, value_name = "POD")]
    replica: Option<String>,
    /// Don't ask first
    #[arg(long)]
    yes: bool,
    /// How long is waited at most, like 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = span)]
    timeout: Duration,
}

/// Gather everything that support needs in one archive, with secrets taken out
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kubectl majordomo report acme\n  kubectl majordomo report acme -f acme.tar.gz\n\n\
    In it: the resource and what was made of it, Events, the ends of logs (5 MiB each), nodes, the operator. Of Secrets only\n\
    names, keys and sizes; what is in them, and whatever looks like a password, a token or a key, is replaced by *** everywhere.\n\
    What you may not read is listed in it. Look through it before you pass it on."
)]
struct ReportArgs {
    /// Name of the HAController
    name: String,
    /// The file to write; it must not be there yet [default: majordomo-report-NAMESPACE-NAME-TIME.tar.gz]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Show the versions of this program, the cluster, the operator, and of a controller's replicas
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kubectl majordomo version\n  kubectl majordomo version acme")]
struct VersionArgs {
    /// Name of a HAController
    name: Option<String>,
}

/// Whether the program was called as kubectl calls it.
pub(crate) fn called_as_plugin(program: Option<std::ffi::OsString>) -> bool {
    let stem = program.as_deref().map(std::path::Path::new).and_then(std::path::Path::file_stem);
    stem.is_some_and(|stem| stem == PLUGIN)
}

pub(crate) fn run(args: KubectlArgs) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let verdict = runtime.block_on(carry_out(args))?;
    Ok(ExitCode::from(verdict.status()))
}

async fn carry_out(args: KubectlArgs) -> Result<Verdict> {
    let KubectlArgs { place, command } = args;
    let plain = place.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let paint = Paint(!plain && std::io::stdout().is_terminal());
    let PlaceArgs { namespace, context, kubeconfig, no_color: _ } = place;
    let cluster = Cluster::connect(&Place { namespace, context, kubeconfig }).await?;
    let say: Say<'_> = &super::say;
    Ok(match command {
        Command::Status(args) => status(&cluster, &args, paint).await?,
        Command::Drain(DrainArgs { name, pod, force, wait }) => {
            kubectl::drain(&cluster, &name, Drain { pod: &pod, force, waiting: wait.waiting() }, say).await?
        }
        Command::Restart(RestartArgs { name, wait }) => {
            kubectl::restart(&cluster, &name, wait.waiting(), say).await?
        }
        Command::Rollout(RolloutArgs { command }) => rollout(&cluster, command, paint, say).await?,
        Command::FailoverTest(FailoverTestArgs { name, replica, yes, timeout }) => {
            let sure = |plan: &str| super::sure(plan, yes).map_err(Error::Refused);
            let test =
                FailoverTest { replica: replica.as_deref(), sure: &sure, waiting: Waiting { timeout } };
            kubectl::failover_test(&cluster, &name, test, say).await?
        }
        Command::Report(ReportArgs { name, file }) => {
            kubectl::report(&cluster, &name, Report { file: file.as_deref() }, say).await?
        }
        Command::Version(VersionArgs { name }) => {
            say(&kubectl::version(&cluster, name.as_deref()).await?);
            Verdict::Good
        }
    })
}

async fn status(cluster: &Cluster, args: &StatusArgs, paint: Paint) -> Result<Verdict> {
    let seen = overview(cluster, &args.name).await?;
    super::say(&match args.output {
        Output::Text => status_text(&seen, args.verbose, paint),
        Output::Json => seen.json()?,
        Output::Yaml => seen.yaml()?,
    });
    Ok(Verdict::Good)
}

async fn rollout(cluster: &Cluster, command: RolloutCommand, paint: Paint, say: Say<'_>) -> Result<Verdict> {
    Ok(match command {
        RolloutCommand::Restart(RestartArgs { name, wait }) => {
            kubectl::restart(cluster, &name, wait.waiting(), say).await?
        }
        RolloutCommand::Pause { name } => kubectl::pause(cluster, &name, say).await?,
        RolloutCommand::Resume { name } => kubectl::resume(cluster, &name, say).await?,
        RolloutCommand::Undo(UndoArgs { name, to_revision, yes, wait }) => {
            let sure = |plan: &str| super::sure(plan, yes).map_err(Error::Refused);
            let asked = Undo { to: to_revision, sure: &sure, waiting: wait.waiting() };
            kubectl::undo(cluster, &name, asked, say).await?
        }
        RolloutCommand::Status { name, wait } => {
            kubectl::rollout_status(cluster, &name, wait.waiting(), paint, say).await?
        }
        RolloutCommand::History { name } => {
            say(&kubectl::history(cluster, &name, paint).await?);
            Verdict::Good
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_name_of_the_program_decides() {
        for (program, plugin) in [
            ("kubectl-majordomo", true),
            ("/usr/local/bin/kubectl-majordomo", true),
            ("kubectl-majordomo.exe", true),
            ("majordomo", false),
            ("/opt/kubectl-majordomo/majordomo", false),
            ("", false),
        ] {
            assert_eq!(called_as_plugin(Some(program.into())), plugin, "{program}");
        }
        assert!(!called_as_plugin(None));
    }

    #[test]
    fn flags_are_those_of_kubectl_and_stand_anywhere() {
        let parsed = |line: &str| KubectlArgs::try_parse_from(line.split(' '));
        for line in [
            "k -n ci status acme",
            "k status acme -n ci --context prod --kubeconfig f -o json",
            "k status acme -v --no-color",
            "k drain acme acme-1 --no-wait",
            "k restart acme --timeout 90s",
            "k rollout undo acme --to-revision 3 --yes",
            "k rollout restart acme --no-wait",
            "k failover-test acme --replica acme-1 --timeout 5m --yes",
            "k report acme -f x.tar.gz",
            "k version",
        ] {
            assert!(parsed(line).is_ok(), "{line}: {:?}", parsed(line).err());
        }
        for line in [
            "k status",
            "k status acme -o xml",
            "k restart acme --no-wait --timeout 1s",
            "k rollout",
            "k drain acme",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
        KubectlArgs::command().debug_assert();
    }
}
