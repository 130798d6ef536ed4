#!/usr/bin/env python3
"""A slow link: real TCP over a pair of TUN devices, between this network namespace and one of its own.

    scripts/slow-link.py --target 127.0.0.1:9443 --rate 10000 --rtt 700 --loss 0

Packets pass in both directions through a queue each, at RATE bits per second, after half of RTT milliseconds, LOSS percent
of them lost (seeded). Behind the link a listener accepts connections and joins them to TARGET; without a TARGET another program listens
there. The first line that is printed says where: address, port (0: the other program's), file of the namespace. Then it runs until
its standard input ends, and removes what it made. Needs root and iproute2.

A line of its standard input changes the link, and is repeated when that is done: "down" (no packet passes, without a sign), "up",
"move" (another address takes the place of this side's, and the link is up), "tell" (an address comes that has nothing to do with it, and
the link is up), "shape RATE RTT LOSS". The answer to "count" has the packets that it took and those that it lost.

It is ours because not every kernel has netem; what carries the bytes is the kernel's own TCP on both sides.
"""

import argparse
import ctypes
import fcntl
import heapq
import ipaddress
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
MTU = 1500
# What a modem or router holds back before it drops, in packets: netem's default.
QUEUE = 1000


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    os.set_blocking(fd, False)
    return fd


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Direction:
    """Packets of one direction: read from one device, written to the other when their time has come."""

    def __init__(self, source, sink, rate, delay, loss, queue, dice):
        self.source, self.sink, self.rate, self.delay, self.loss, self.dice = source, sink, rate, delay, loss, dice
        self.free_at, self.waiting, self.count, self.queue = 0.0, [], 0, queue
        self.up, self.lost = True, 0

    def take(self, now):
        while True:
            try:
                packet = os.read(self.source, 65536)
            except BlockingIOError:
                return
            if not self.up or len(self.waiting) >= self.queue or self.dice.random() * 100 < self.loss:
                self.lost += 1
                continue
            self.free_at = max(self.free_at, now) + len(packet) * 8 / self.rate
            self.count += 1
            heapq.heappush(self.waiting, (self.free_at + self.delay, self.count, packet))

    def give(self, now):
        while self.waiting and self.waiting[0][0] <= now:
            packet = heapq.heappop(self.waiting)[2]
            if not self.up:
                self.lost += 1
                continue
            try:
                os.write(self.sink, packet)
            except OSError:
                pass


def carry(directions):
    while True:
        now = time.monotonic()
        due = min((d.waiting[0][0] for d in directions if d.waiting), default=now + 1)
        readable, _, _ = select.select([d.source for d in directions], [], [], max(due - now, 0))
        now = time.monotonic()
        for direction in directions:
            if direction.source in readable:
                direction.take(now)
            direction.give(now)


def join(one, other):
    def copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                try:
                    # What was reset on one side is reset on the other.
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.close()
                except OSError:
                    pass

    for pair in ((one, other), (other, one)):
        threading.Thread(target=copy, args=pair, daemon=True).start()


def obey(line, directions, near, addresses):
    """Does what a line asks for; gives the answer."""
    word, *numbers = line.split()
    if word == "count":
        return f"count {sum(d.count for d in directions)} {sum(d.lost for d in directions)}"
    if word == "shape":
        rate, rtt, loss = map(float, numbers)
        for direction in directions:
            direction.rate, direction.delay, direction.loss = rate, rtt / 2000, loss
        return line
    if word == "move":
        ip("addr", "del", f"{addresses[0]}/29", "dev", near)
        addresses.reverse()
        ip("addr", "add", f"{addresses[0]}/29", "dev", near)
    elif word == "tell":
        ip("addr", "add", "192.0.2.77/32", "dev", "lo")
    for direction in directions:
        direction.up = word != "down"
    return line


def accept(listener, host, port):
    while True:
        arrived, _ = listener.accept()
        try:
            join(arrived, socket.create_connection((host, int(port))))
        except OSError:
            arrived.close()


def main():
    options = argparse.ArgumentParser(description="a slow link")
    options.add_argument("--target")
    options.add_argument("--rate", type=float, required=True, help="bits per second")
    options.add_argument("--rtt", type=float, default=0, help="milliseconds")
    options.add_argument("--loss", type=float, default=0, help="percent")
    options.add_argument("--queue", type=int, default=QUEUE, help="packets before it drops")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    # A /29 of its own for each of many at once.
    net = ipaddress.ip_address("10.64.0.0") + os.getpid() % 16384 * 8
    space, near, far = f"tg-{os.getpid()}", f"tgn{os.getpid()}", f"tgf{os.getpid()}"
    here, there, moved = (str(net + end) for end in (1, 2, 3))
    # Told to end, the script removes what it made, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ip("netns", "add", space)
    try:
        near_fd = tun(near)
        with open("/proc/self/ns/net") as home, open(f"/run/netns/{space}") as away:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(away.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            far_fd = tun(far)
            for words in (["link", "set", "lo", "up"], ["addr", "add", f"{there}/29", "dev", far], ["link", "set", far, "mtu", str(MTU), "up"]):
                ip(*words)
            listener = socket.create_server((there, 0), backlog=64) if given.target else None
            if libc.setns(home.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        ip("addr", "add", f"{here}/29", "dev", near)
        ip("link", "set", near, "mtu", str(MTU), "up")
        dice = random.Random(given.seed)
        ways = [(near_fd, far_fd), (far_fd, near_fd)]
        directions = [Direction(a, b, given.rate, given.rtt / 2000, given.loss, given.queue, dice) for a, b in ways]
        threading.Thread(target=carry, args=(directions,), daemon=True).start()
        if listener:
            threading.Thread(target=accept, args=(listener, *given.target.rsplit(":", 1)), daemon=True).start()
        print(there, listener.getsockname()[1] if listener else 0, f"/run/netns/{space}", flush=True)
        addresses = [here, moved]
        for line in sys.stdin:
            print(obey(line.strip(), directions, near, addresses), flush=True)
    finally:
        subprocess.run(["ip", "netns", "del", space])
        os._exit(0)


if __name__ == "__main__":
    main()
