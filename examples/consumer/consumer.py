"""Reads one SQS queue of tidegate, and says what is missing, out of order, doubled without a mark, or changed.
Input: records of Lambda events, one JSON a line; status 1: something is wrong. Written from docs/message-format.md alone.
A Standard queue doubles and disorders by itself. A reader that runs for ever lets ids expire after 14 days."""
import base64, collections, fileinput, hashlib, itertools, json, struct, sys

GONE = bytes(32)  # D(p) of a position that will not come
WRONG = ("missing", "unordered", "doubled", "changed")  # how the report's lines of faults begin


def read(record):  # the event's members, and the payload's bytes as the chain counts them
    body, attributes = record["body"], {n: a.get("stringValue", "") for n, a in record["messageAttributes"].items()}
    if not attributes.get("content-type", "").startswith("application/cloudevents+json"):  # a binary message
        event = {name[3:]: v.replace("%25", "%") for name, v in attributes.items() if name.startswith("ce-")}
        event["partitionkey"] = record.get("attributes", {}).get("MessageGroupId")
        return event, base64.b64decode(body) if "content-transfer-encoding" in attributes else body.encode()
    event = json.loads(body, parse_int=str)  # as text: Python refuses an int of more than 4300 digits
    if "data_base64" in event:
        return event, base64.b64decode(event["data_base64"])
    if event.get("datacontenttype") == "application/json":
        return event, body[body.index('"data":') + 7 : body.rindex("}")].encode()
    return event, event.get("data", "").encode()


def digest(position, id, topic, data):
    parts = struct.pack(">QI", position, len(id)) + id + struct.pack(">I", len(topic)) + topic
    return hashlib.sha256(b"tidegate.chain.1" + parts + struct.pack(">Q", len(data)) + data).digest()


class Reader:
    def __init__(self):
        self.seen, self.unmarked = {}, []  # seen: (source, id) -> whether a copy was marked
        self.came, self.gone, self.joined = (collections.defaultdict(dict) for _ in range(3))  # position -> D(p)
        self.groups, self.health = collections.defaultdict(list), collections.defaultdict(list)

    def take(self, record):  # True: a new record, use it. False: a double, drop it
        event, data = read(record)
        source, id, topic, group = (event.get(name) for name in ("source", "id", "mqtttopic", "partitionkey"))
        journal, _, position = event["sequence"].split("-")
        key, position = f"gateway {source.split('/')[3]}, journal {journal}", int(position)
        if group and position not in self.came[key]:  # a copy says nothing about the order
            self.groups[f"{key}, group {group}"].append(position)
        self.came[key].setdefault(position, digest(position, id.encode(), topic.encode(), data))
        marked, before = event.get("possibleduplicate") in (True, "true"), self.seen.get((source, id))
        self.seen[source, id] = marked or bool(before)
        if before is False and not marked:
            self.unmarked.append(f"doubled without a mark: {source} {id}, position {position}")
        if before is not None or (source, event.get("duplicateof")) in self.seen:
            return False
        told = json.loads(data) if event.get("dataschema", "").startswith("urn:tidegate:schema:") else {}
        if "ranges" in told:  # a gap record
            exact = told["count"] == sum(last - first + 1 for first, last in told["ranges"])
            for first, last in told["ranges"]:
                (self.gone if exact else self.joined)[key].update(dict.fromkeys(range(first, last + 1), GONE))
        for lane in told.get("lanes", []):  # a health record, with the account of its own queue among them
            if lane["name"] == told["lane"]:
                self.health[key].append((lane["settled_below"], lane["chain"], position))
        return True

    def report(self):
        lines = list(self.unmarked) if self.came else ["not checked: nothing came"]
        for group, ps in self.groups.items():
            late = [p for p, highest in zip(ps, itertools.accumulate(ps, max)) if p < highest]
            lines.append(f"unordered: {group}: {late}" if late else f"ordered: {group}")
        for key, came in self.came.items():
            ds, health, since = {**dict.fromkeys(self.joined[key]), **came, **self.gone[key]}, self.health[key], None
            missing = [p for p in range(1, max([max(ds) + 1] + [h[0] for h in health])) if p not in ds]
            lines.append(f"missing: {key}: {missing}" if missing else f"complete: {key}: {len(ds)} positions")
            chains = sorted((c["since"], c["next"], at, c["value"]) for _, c, at in health if c)
            lines += [] if chains else [f"not checked: {key}: no chain statement"]
            for start, end, at, value in chains:
                if start != since:  # the first one, or the gateway could not go on with its sum
                    since, first, total = start, start, GONE
                span = [ds.get(p) for p in range(first, end)]
                for d in span:
                    total = hashlib.sha256(total + (d or GONE)).digest()
                says = "not checked" if None in span else "right" if total.hex() == value else "changed"
                lines.append(f"{says}: {key}: {first}-{end - 1}, by the chain of the health record {at}")
                first, total = end, bytes.fromhex(value)  # go on from what the gateway stated
        found = [word for word in (*WRONG, "not checked") if any(line.startswith(word) for line in lines)]
        return lines + [", ".join(found) or "complete, ordered, duplicates marked, chain right"]


def main():
    reader = Reader()
    for line in filter(bytes.strip, fileinput.input(mode="rb")):
        reader.take(json.loads(line))
    lines = reader.report()
    print("\n".join(lines))
    return lines[-1].startswith(WRONG)


if __name__ == "__main__":
    sys.exit(main())
