//! The setup wizard of a new controller, through the ingress: it may take its time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::http::{Client, Reply};
use crate::support::cluster::wait_or;
use crate::support::controller::{Controller, LONG, PATIENCE, REPLICAS};
use crate::support::operator::story;

const FORM: &str = "application/x-www-form-urlencoded";
/// Longer than liveness bears somebody who does not answer.
const THINKING: Duration = Duration::from_secs(75);

/// A person in a browser who has unlocked the wizard.
struct Browser {
    client: Client,
    crumb: String,
}

impl Browser {
    fn unlock(anybody: &Client, password: &str) -> Browser {
        let fields = format!("password={password}");
        let unlocked = anybody.send("POST", "/setupWizard/unlock", FORM, fields.as_bytes()).unwrap();
        assert_eq!(unlocked.status, 303, "{}", unlocked.text());
        let cookie = unlocked.header("set-cookie").and_then(|cookie| cookie.split(';').next()).unwrap();
        let client = anybody.with("Cookie", cookie);
        let page = client.get("/setupWizard/createAdminUser").text();
        let crumb =
            page.split("name=\"Jenkins-Crumb\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        Browser { crumb: crumb.unwrap_or_else(|| panic!("{page}")).to_owned(), client }
    }

    fn fill(&self, page: &str, fields: &str) -> Reply {
        let form = format!("Jenkins-Crumb={}&{fields}", self.crumb);
        self.client.send("POST", &format!("/setupWizard/{page}"), FORM, form.as_bytes()).unwrap()
    }
}

/// Of each pod: whether it was there before, and how often its container was started again.
fn pods(controller: &Controller) -> Vec<Value> {
    let pods = controller.kubectl().get(&["pods", "-l", REPLICAS]);
    let of =
        |pod: &Value| json!([pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]]);
    pods["items"].as_array().unwrap().iter().map(of).collect()
}

#[test]
#[ignore = "a person takes his time; on request"]
fn the_wizard_is_waited_for_and_the_others_follow_when_it_has_ended() {
    story(|cluster, _| {
        let controller = Controller::prepare(cluster, "wizard");
        let host = &controller.host;
        controller
            .apply(&json!({"replicas": 2, "security": {"setupWizard": true}, "ingress": {"host": host}}));
        controller
            .until("the wizard is shown", |resource| (resource["status"]["phase"] == "Setup").then_some(()));
        let run = || {
            Some(pods(&controller)).filter(|pods| pods.len() == 2 && pods.iter().all(|pod| pod[1].is_u64()))
        };
        let waiting = wait_or(LONG, "both pods run", run, || controller.explain());
        let why = controller.wait_condition("Ready", "False", "Setup");
        assert!(why.contains("waits for a user to end the setup wizard"), "{why}");
        let anybody = Client::anonymous(controller.address()).named(host);
        let shown = || anybody.try_get("/setupWizard/").ok().filter(|reply| reply.status == 200).map(drop);
        wait_or(LONG, "the ingress leads to the wizard", shown, || controller.explain());
        let refused = anybody.try_get("/api/json").unwrap();
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.header("retry-after").is_some(), "{refused:?}");

        let began = Instant::now();
        while began.elapsed() < THINKING {
            std::thread::sleep(Duration::from_secs(1));
        }
        assert_eq!(pods(&controller), waiting, "nobody was restarted meanwhile");
        assert!(waiting.iter().all(|pod| pod[1] == 0), "{waiting:?}");

        let browser = Browser::unlock(&anybody, &controller.secret("acme-admin", "password"));
        let user = "username=ann&password1=pass&password2=pass&fullname=Ann&email=";
        assert_eq!(browser.fill("createAdminUser", user).status, 303);
        let made = browser.fill("configureInstance", "");
        assert_eq!(made.status, 200, "{}", made.text());
        controller.wait_ready();
        assert_eq!(pods(&controller), waiting, "the same pods serve");
        let ann = Client::new(controller.address(), "ann", "pass").named(host);
        let asked = || ann.try_get("/whoAmI/api/json").ok().filter(|reply| reply.status == 200);
        let who = wait_or(PATIENCE, "the new user signs in", asked, || controller.explain());
        assert!(who.text().contains("\"ann\""), "{}", who.text());
    });
}
