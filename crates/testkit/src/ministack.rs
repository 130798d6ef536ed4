//! ministack: another project's SQS, with signatures and IAM policies enforced.
//!
//! The stub shares our reading of the service; this emulator does not. It is a Python program in an environment of its
//! own, put there by `scripts/peers.sh`; its application is served on loopback only, because its own command would listen
//! on every interface. Each instance makes one user with the two-action policy and a key for it, as a customer does.

use crate::consumer::plain_client;
use crate::fake_sqs::{AccessKey, Allowed, QueueOptions};
use crate::http;
use crate::port::HeldPort;
use crate::process::{self, Process};
use crate::{Error, Result};
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::QueueAttributeName;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

/// Starting Python and its modules on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const REGION: &str = "eu-west-1";
const ROOT_ID: &str = "AKIAROOT00000EXAMPLE";
const ROOT_SECRET: &str = "rootSecret/00000000000000000000EXAMPLEKEY";

/// Makes the user, its policy and its key; prints id and secret. botocore comes with ministack.
const MAKE_AGENT_KEY: &str = r#"
import json, sys
import botocore.session
endpoint, region, root_id, root_secret = sys.argv[1:]
iam = botocore.session.get_session().create_client(
    "iam", region_name=region, endpoint_url=endpoint,
    aws_access_key_id=root_id, aws_secret_access_key=root_secret)
iam.create_user(UserName="gateway")
actions = ["sqs:SendMessage", "sqs:SendMessageBatch"]
policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "arn:aws:sqs:*:*:*"}]}
iam.put_user_policy(UserName="gateway", PolicyName="send", PolicyDocument=json.dumps(policy))
key = iam.create_access_key(UserName="gateway")["AccessKey"]
print(key["AccessKeyId"], key["SecretAccessKey"])
"#;

/// A running ministack; killed when dropped.
#[derive(Debug)]
pub struct Ministack {
    process: Process,
    _folder: TempDir,
    port: HeldPort,
    python: PathBuf,
    agent: AccessKey,
}

impl Ministack {
    /// Starts it from the environment that `scripts/peers.sh` made under `repo`, and makes the agent's key.
    pub async fn start(repo: &Path) -> Result<Ministack> {
        let python = repo.join(".peers/ministack/bin/python");
        if !python.is_file() {
            return Err(Error::Missing { what: "ministack".into(), remedy: "run scripts/peers.sh".into() });
        }
        let folder = tempfile::tempdir().map_err(Error::io("making a folder for ministack"))?;
        let port = HeldPort::take()?;
        let mut command = Command::new(&python);
        command
            // No workers: it serves itself, and nothing of it outlives the process that is killed.
            .args(["-m", "hypercorn", "--workers", "0", "--bind", &port.addr().to_string(), "ministack.app:app"])
            .current_dir(folder.path())
            .env("TMPDIR", folder.path())
            .env("AUTH", "true")
            .env("SERVICES", "sqs,iam,sts")
            .env("MINISTACK_REGION", REGION)
            .env("GATEWAY_PORT", port.addr().port().to_string())
            .env("AWS_ACCESS_KEY_ID", ROOT_ID)
            .env("AWS_SECRET_ACCESS_KEY", ROOT_SECRET);
        let mut process = Process::start("ministack", &mut command, &folder.path().join("ministack.log"))?;
        let addr = port.addr();
        let healthy =
            || async move { http::get(addr, "/_ministack/health").await.ok().filter(|reply| reply.status == 200) };
        process.wait_until("health", PATIENCE, healthy).await?;
        let agent = AccessKey::new("", "", Allowed::SendOnly);
        let mut ministack = Ministack { process, _folder: folder, port, python, agent };
        ministack.make_agent_key().await?;
        Ok(ministack)
    }

    /// URL of the endpoint for SQS clients.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.port.addr())
    }

    /// Region of its queues.
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// Key of a user who may use the two send actions and nothing else.
    pub fn agent_key(&self) -> &AccessKey {
        &self.agent
    }

    /// Key that may do everything.
    pub fn admin_key(&self) -> AccessKey {
        AccessKey::new(ROOT_ID, ROOT_SECRET, Allowed::All)
    }

    /// Makes a queue and gives its URL.
    pub async fn create_queue(&self, name: &str, options: &QueueOptions) -> Result<String> {
        let client = plain_client(&self.endpoint(), REGION, &self.admin_key());
        let mut request = client
            .create_queue()
            .queue_name(name)
            .attributes(QueueAttributeName::MaximumMessageSize, options.max_message_bytes.to_string())
            .attributes(QueueAttributeName::VisibilityTimeout, (options.visibility_ms / 1000).to_string());
        if options.fifo {
            request = request.attributes(QueueAttributeName::FifoQueue, "true");
        }
        if options.dedup_per_group {
            request = request
                .attributes(QueueAttributeName::DeduplicationScope, "messageGroup")
                .attributes(QueueAttributeName::FifoThroughputLimit, "perMessageGroupId");
        }
        let what = format!("creating queue {name}");
        let made = request.send().await.map_err(|error| Error::peer(what.as_str(), DisplayErrorContext(error)))?;
        made.queue_url.ok_or_else(|| Error::peer(what, "no URL in the answer"))
    }

    /// Forgets queues, users and keys, and makes a new agent key.
    pub async fn reset(&mut self) -> Result<()> {
        let reply = http::post(self.port.addr(), "/_ministack/reset").await?;
        if reply.status != 200 {
            return Err(Error::peer("resetting ministack", format!("http {}", reply.status)));
        }
        self.make_agent_key().await
    }

    /// What it has logged, for a failing test.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// Kills the process and waits for its end.
    pub async fn stop(mut self) -> Result<()> {
        self.process.kill().await
    }

    async fn make_agent_key(&mut self) -> Result<()> {
        let endpoint = self.endpoint();
        let args = ["-c", MAKE_AGENT_KEY, &endpoint, REGION, ROOT_ID, ROOT_SECRET];
        let printed = process::run(&self.python, &args, PATIENCE).await?;
        let (id, secret) =
            printed.trim().split_once(' ').ok_or_else(|| Error::peer("making the agent's key", "no key printed"))?;
        self.agent = AccessKey::new(id, secret, Allowed::SendOnly);
        Ok(())
    }
}
