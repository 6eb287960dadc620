// ioredis in ordinary use against the server whose port is the argument.
const assert = require("node:assert");
const Redis = require("ioredis");

const port = Number(process.argv[2]);
const connect = (options = {}) => new Redis(port, "127.0.0.1", options);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function types(redis) {
  assert.equal(await redis.set("s", "v", "EX", 100, "NX"), "OK");
  assert.equal(await redis.set("s", "w", "NX"), null);
  assert.equal(await redis.hset("h", { a: 1, b: 2 }), 2);
  assert.deepEqual(await redis.hgetall("h"), { a: "1", b: "2" });
  assert.equal(await redis.rpush("l", "x", "y", "z"), 3);
  assert.deepEqual(await redis.lrange("l", 0, -1), ["x", "y", "z"]);
  assert.equal(await redis.zadd("z", 1, "a", 2.5, "b"), 2);
  assert.deepEqual(await redis.zrange("z", 0, -1, "WITHSCORES"), ["a", "1", "b", "2.5"]);
  assert.deepEqual((await redis.smembers("none")), []);
  assert.deepEqual(await redis.sort("l", "ALPHA", "DESC"), ["z", "y", "x"]);
  const binary = Buffer.from(Array.from({ length: 100000 }, (_, n) => n % 256));
  await redis.set("binary", binary);
  assert.ok(binary.equals(await redis.getBuffer("binary")));
  await assert.rejects(redis.incr("h"), /^ReplyError: WRONGTYPE/);
}

async function pipelines(redis) {
  const pipeline = redis.pipeline();
  for (let n = 0; n < 1000; n++) pipeline.set(`k:${n}`, n).get(`k:${n}`);
  const replies = await pipeline.exec();
  for (let n = 0; n < 1000; n++) {
    assert.deepEqual(replies[2 * n], [null, "OK"]);
    assert.deepEqual(replies[2 * n + 1], [null, String(n)]);
  }
  const all = await Promise.all(Array.from({ length: 500 }, () => redis.incr("counter")));
  assert.deepEqual(all, Array.from({ length: 500 }, (_, n) => n + 1));
  const automatic = connect({ enableAutoPipelining: true });
  const values = await Promise.all(
    Array.from({ length: 300 }, (_, n) => automatic.get(`k:${n}`)),
  );
  assert.deepEqual(values, Array.from({ length: 300 }, (_, n) => String(n)));
  await automatic.quit();
}

async function transactions(redis) {
  assert.deepEqual(await redis.multi().set("a", 1).incr("a").get("a").exec(), [
    [null, "OK"],
    [null, 2],
    [null, "2"],
  ]);
  const other = connect();
  await redis.watch("a");
  await other.set("a", 7);
  assert.equal(await redis.multi().set("a", 8).exec(), null);
  assert.equal(await redis.get("a"), "7");
  await other.quit();
}

async function blocking(redis) {
  const waiter = connect({ connectionName: "waiter" });
  const popped = waiter.blpop("q1", "q2", 30);
  while (!/name=waiter.* cmd=blpop/.test(await redis.client("LIST"))) await pause(5);
  await redis.rpush("q2", "job");
  assert.deepEqual(await popped, ["q2", "job"]);
  assert.equal(await waiter.blpop("q1", 0.05), null);
  await waiter.quit();
}

async function scans(redis) {
  await redis.mset(Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [`scan:${n}`, n])));
  const found = new Set();
  for await (const keys of redis.scanStream({ match: "scan:*", count: 100 })) {
    for (const key of keys) {
      assert.ok(!found.has(key));
      found.add(key);
    }
  }
  assert.equal(found.size, 2000);
  await redis.sadd("set", Array.from({ length: 1000 }, (_, n) => n));
  let members = 0;
  for await (const part of redis.sscanStream("set")) members += part.length;
  assert.equal(members, 1000);
}

async function main() {
  const redis = connect();
  await redis.flushall();
  for (const check of [types, pipelines, transactions, blocking, scans]) await check(redis);
  await redis.quit();
  const pool = Array.from({ length: 20 }, () => connect());
  await Promise.all(pool.map((one, n) => one.set(`pool:${n}`, n)));
  const many = await pool[0].mget(pool.map((_, n) => `pool:${n}`));
  assert.deepEqual(many, pool.map((_, n) => String(n)));
  await Promise.all(pool.map((one) => one.quit()));
  console.log(`ioredis ${require("ioredis/package.json").version}: all is well`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
