"""redis-py in ordinary use against the server whose port is the argument."""

import asyncio
import sys
import threading
import time

import redis
import redis.asyncio

PORT = int(sys.argv[1])


def pools_and_threads(protocol):
    pool = redis.BlockingConnectionPool(port=PORT, protocol=protocol, max_connections=8, timeout=30)
    client = redis.Redis(connection_pool=pool)
    client.flushall()

    def work(number):
        for n in range(200):
            client.incr("counter")
            client.set(f"key:{number}:{n}", n)
            assert int(client.get(f"key:{number}:{n}")) == n

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert int(client.get("counter")) == 16 * 200
    assert client.dbsize() == 16 * 200 + 1
    pool.disconnect()


def types(client):
    client.flushall()
    assert client.set("s", "v", ex=100, nx=True) is True
    assert client.set("s", "w", nx=True) is None
    assert 90 < client.ttl("s") <= 100
    assert client.getdel("s") == "v"
    assert client.hset("h", mapping={"a": 1, "b": 2.5}) == 2
    assert client.hgetall("h") == {"a": "1", "b": "2.5"}
    assert client.hincrbyfloat("h", "b", 0.5) == 3.0
    assert client.rpush("l", *range(10)) == 10
    assert client.lrange("l", 2, 4) == ["2", "3", "4"]
    assert client.lpos("l", "7") == 7
    assert client.sadd("one", "a", "b", "c") == 3
    assert client.sadd("two", "b", "c", "d") == 3
    assert client.sinter("one", "two") == {"b", "c"}
    assert client.smismember("one", ["a", "z"]) == [1, 0]
    assert client.zadd("z", {"a": 1, "b": 2, "c": 3.5}) == 3
    assert client.zscore("z", "c") == 3.5
    assert client.zadd("z", {"a": 5}, gt=True, ch=True) == 1
    assert client.zrange("z", 0, -1, withscores=True)[0][0] == "b"
    assert client.zrangebyscore("z", "(2", "+inf") == ["c", "a"]
    assert client.sort("l", desc=True, start=0, num=3) == ["9", "8", "7"]
    assert client.type("z") == "zset" and client.object("encoding", "z") == "listpack"
    assert client.copy("z", "y") and client.rename("y", "x")
    assert sorted(client.keys("[hlz]")) == ["h", "l", "z"]
    try:
        client.incr("h")
        raise AssertionError("a hash was incremented")
    except redis.ResponseError as error:
        assert str(error).startswith("WRONGTYPE")


def pipelines_and_transactions(client):
    client.flushall()
    with client.pipeline(transaction=False) as pipe:
        for n in range(1000):
            pipe.set(f"k:{n}", n).get(f"k:{n}")
        replies = pipe.execute()
    assert replies == [reply for n in range(1000) for reply in (True, str(n))]
    with client.pipeline() as pipe:
        pipe.set("a", 1).incr("a").lpush("a", "x").get("a")
        replies = pipe.execute(raise_on_error=False)
    assert replies[:2] == [True, 2] and isinstance(replies[2], redis.ResponseError)
    assert replies[3] == "2"

    def move(pipe):
        amount = int(pipe.get("from"))
        pipe.multi()
        pipe.set("from", amount - 1).incr("to")

    client.mset({"from": 300, "to": 0})
    mover = lambda: [client.transaction(move, "from", "to") for _ in range(100)]
    threads = [threading.Thread(target=mover) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert client.mget("from", "to") == ["0", "300"]
    with client.pipeline() as pipe:
        pipe.watch("from")
        client.set("from", 7)
        pipe.multi()
        pipe.set("from", 8)
        try:
            pipe.execute()
            raise AssertionError("a watched key changed, and the transaction ran")
        except redis.WatchError:
            pass


def blocking(client):
    client.flushall()
    got = []
    waiter = threading.Thread(target=lambda: got.append(client.blpop(["q1", "q2"], timeout=30)))
    waiter.start()
    while not any(c["cmd"] == "blpop" for c in client.client_list()):
        time.sleep(0.005)
    assert client.rpush("q2", "job") == 1
    waiter.join()
    assert list(got[0]) == ["q2", "job"]
    assert client.blpop("q1", timeout=0.05) is None
    client.rpush("src", "a", "b")
    assert client.blmove("src", "dst", 1, "LEFT", "RIGHT") == "a"
    client.zadd("zq", {"m": 1})
    assert list(client.bzpopmin("zq", 1))[:2] == ["zq", "m"]


def scans(client):
    client.flushall()
    with client.pipeline(transaction=False) as pipe:
        for n in range(3000):
            pipe.set(f"scan:{n}", n)
        pipe.sadd("set", *range(2000)).hset("hash", mapping={n: n for n in range(2000)})
        pipe.zadd("zset", {str(n): n for n in range(2000)})
        pipe.execute()
    keys = list(client.scan_iter(match="scan:*", count=100))
    assert len(keys) == len(set(keys)) == 3000
    assert len(set(client.sscan_iter("set"))) == 2000
    assert len(dict(client.hscan_iter("hash"))) == 2000
    assert len(dict(client.zscan_iter("zset"))) == 2000
    assert list(client.scan_iter(_type="zset")) == ["zset"]


async def asynchronous(protocol):
    client = redis.asyncio.Redis(port=PORT, protocol=protocol, decode_responses=True)
    await client.flushall()

    async def work(number):
        async with client.pipeline() as pipe:
            replies = await pipe.incr("count").set(f"a:{number}", number).execute()
        return replies[0]

    counts = await asyncio.gather(*(work(n) for n in range(100)))
    assert sorted(counts) == list(range(1, 101))
    waiter = asyncio.create_task(client.brpop("queue", timeout=30))
    while not any(c["cmd"] == "brpop" for c in await client.client_list()):
        await asyncio.sleep(0.005)
    await client.lpush("queue", "job")
    assert list(await waiter) == ["queue", "job"]
    await client.aclose()


for protocol in (2, 3):
    client = redis.Redis(port=PORT, protocol=protocol, decode_responses=True, client_name="tester")
    assert client.ping() and client.client_getname() == "tester"
    assert client.info("server")["redis_version"].startswith("7.")
    pools_and_threads(protocol)
    for check in (types, pipelines_and_transactions, blocking, scans):
        check(client)
    asyncio.run(asynchronous(protocol))
    binary = redis.Redis(port=PORT, protocol=protocol)
    value = bytes(range(256)) * 5000
    binary.set(b"\x00key\r\n", value)
    assert binary.get(b"\x00key\r\n") == value
    client.close()
print(f"redis-py {redis.__version__}: all is well")
