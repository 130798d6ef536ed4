//! `--keep`: where to look, and what to try, while everything keeps running.

use crate::scene::{QUEUE, Scene};
use std::io::{Write, stdout};
use testkit::fake_sqs::AccessKey;
use testkit::fleet::{Device, Fleet};
use testkit::random::Random;

/// Prints it.
pub(crate) fn show(scene: &Scene) {
    let status = scene.agent.status_addr();
    let (broker, queue) = (scene.broker.addr(), scene.stub.endpoint());
    let key = AccessKey::consumer();
    let uplink = Device::new(0, &mut Random::seeded(0)).uplink(&mut Random::seeded(1));
    let text = format!(
        "
Still running, until Ctrl-C:
  status   http://{status}/status.json
  broker   mqtt://{broker}, the agent takes {filter}
  queue    {queue}, {url}

  {program} status --config {config}
  mosquitto_pub -h {host} -p {port} -q 1 -t {topic} -m '{{\"deduplicationId\":\"'$(cat /proc/sys/kernel/random/uuid)'\",\"deviceInfo\":{{\"devEui\":\"{eui}\"}},\"fCnt\":1}}'
  AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret} aws sqs receive-message --region {region} \\
      --endpoint-url {queue} --queue-url {url} --message-attribute-names All --attribute-names All
  tail -f {log}
",
        filter = Fleet::filter(),
        url = scene.stub.queue_url(QUEUE),
        program = scene.program.display(),
        config = scene.agent.config_path().display(),
        host = broker.ip(),
        port = broker.port(),
        topic = uplink.topic,
        eui = uplink.eui,
        id = key.id,
        secret = key.secret,
        region = scene.stub.region(),
        log = scene.agent.folder().join("agent.log").display(),
    );
    // When the terminal is gone, so is who asked to keep it.
    let _ = stdout().write_all(text.as_bytes());
}
