// Reads a queue with the npm packages sqs-consumer and cloudevents, as their documentation tells. Prints one JSON line per message:
// the message as a Lambda function gets it, and the event as the SDK read it. Ends once COUNT messages came.
//
// Usage: node consume.mjs FOLDER ENDPOINT REGION QUEUE_URL COUNT; FOLDER holds node_modules.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, endpoint, region, queueUrl, count] = process.argv.slice(2);
const packages = createRequire(folder + "/node_modules/");
const { Consumer } = await import(pathToFileURL(packages.resolve("sqs-consumer")));
const { SQSClient } = packages("@aws-sdk/client-sqs");
const { HTTP } = packages("cloudevents");

const lowerFirst = (name) => name[0].toLowerCase() + name.slice(1);

// A message in the shape of an event of Lambda's.
function lambdaRecord(message) {
  const attribute = ([name, a]) => [name, { stringValue: a.StringValue, dataType: a.DataType, stringListValues: [], binaryListValues: [] }];
  return {
    messageId: message.MessageId,
    receiptHandle: message.ReceiptHandle,
    body: message.Body,
    attributes: Object.fromEntries(Object.entries(message.Attributes).map(([name, value]) => [name, String(value)])),
    messageAttributes: Object.fromEntries(Object.entries(message.MessageAttributes ?? {}).map(attribute)),
    md5OfBody: message.MD5OfBody,
    eventSource: "aws:sqs",
    eventSourceARN: `arn:aws:sqs:${region}:000000000000:${queueUrl.split("/").pop()}`,
    awsRegion: region,
  };
}

// What the contract says of bodies: base64 is undone first where an attribute says so; then the SDK has a request.
function event(message) {
  const attributes = Object.entries(message.MessageAttributes ?? {});
  const headers = Object.fromEntries(attributes.map(([name, a]) => [lowerFirst(name), a.StringValue]));
  const base64 = headers["content-transfer-encoding"] === "base64";
  const read = HTTP.toEvent({ headers, body: base64 ? Buffer.from(message.Body, "base64") : message.Body });
  if (!read.validate()) throw new Error("not valid");
  const { id, source, type, subject, sequence, datacontenttype, data, data_base64 } = read;
  const bytes = data_base64 ?? (data instanceof Uint8Array ? Buffer.from(data).toString("base64") : undefined);
  return { id, source, type, subject, sequence, datacontenttype, bytes, data: bytes === undefined && data !== undefined ? JSON.stringify(data) : undefined };
}

let seen = 0;
const consumer = Consumer.create({
  queueUrl,
  sqs: new SQSClient({ endpoint, region, useQueueUrlAsEndpoint: false }),
  batchSize: 10,
  waitTimeSeconds: 1,
  suppressFifoWarning: true,
  messageAttributeNames: ["All"],
  messageSystemAttributeNames: ["All"],
  handleMessageBatch: async (messages) => {
    for (const message of messages) {
      let read;
      try {
        read = event(message);
      } catch (error) {
        read = { error: String(error) };
      }
      console.log(JSON.stringify({ record: lambdaRecord(message), event: read }));
    }
    seen += messages.length;
    if (seen >= Number(count)) consumer.stop();
    return messages;
  },
});
for (const name of ["error", "processing_error", "timeout_error"]) {
  consumer.on(name, (error) => {
    console.error(`${name}: ${error}`);
    process.exitCode = 1;
    consumer.stop();
  });
}
consumer.start();
