// Runs one scene of the TypeScript client and prints what it saw as a line of JSON.
// Arguments: the folder of the compiled client, the server's address, the scene.
import { readdir, readFile } from "node:fs/promises";

const [folder, target, scene] = process.argv.slice(2);
const { Client, RecstreamError } = await import(`${folder}/index.js`);

const client = new Client(target, {
  backoff: { initialMs: 10, maximumMs: 50 },
  metadata: () => ({ authorization: "Bearer x" }),
  idleTimeoutMs: scene === "idle" ? 1_000 : 60_000,
});
const ids = (slate) => slate.items.map((item) => item.itemId);

async function take(count, fields = {}, options = {}, onList = () => {}) {
  const lists = [];
  const pauses = [];
  const onRetry = (error, delayMs) => pauses.push({ code: error.code, message: error.message, delayMs });
  for await (const films of client.stream({ userId: "ann", count: 10, ...fields }, { onRetry, ...options })) {
    lists.push({ ids: ids(films), causes: films.causes.map((cause) => cause.eventId) });
    if (lists.length === count) break;
    onList();
  }
  return { lists, pauses };
}

const scenes = {
  async recommend() {
    const answer = await client.recommend({
      userId: "ann",
      count: 2,
      after: ["t1"],
      afterEventIds: ["e1"],
      filter: { exclude: { text: { field: "category", values: ["Comedy"] } } },
    });
    return { ids: ids(answer.slate), tier: answer.slate.tier, revision: String(answer.slate.profileRevision) };
  },
  async rank() {
    const answer = await client.rank({ userId: "ann", itemIds: ["a", "z", "b"], surface: "search" });
    return { ids: ids(answer.slate), unknown: answer.unknownItemIds };
  },
  async shown() {
    const view = { itemFields: ["title", "attributes.brand"], modelOutputs: true };
    const { slate } = await client.recommend({ userId: "ann", view });
    return slate.items.map(({ item, source }) => ({ title: item?.title, source }));
  },
  async record() {
    return { token: await client.record({ userId: "ann", itemId: "a", action: "view", value: 0.5 }) };
  },
  async impression() {
    await client.record({ userId: "ann", slateId: "s-1", impression: { itemIds: ["a", "b"] } });
    await client.record({ userId: "ann", eventTime: new Date(1_793_500_000_123), undo: { eventId: "e-1" } });
  },
  async refused() {
    try {
      await client.record({ userId: "", itemId: "a", action: "view" });
    } catch (error) {
      if (!(error instanceof RecstreamError)) throw error;
      return { code: error.code, message: error.message, violations: error.violations };
    }
  },
  async full() {
    try {
      await client.recommend({ userId: "ann" }, 2_000);
    } catch (error) {
      return { code: error.code, retryAfterMs: error.retryAfterMs };
    }
  },
  stream: () => take(3),
  deltas: () => take(3, { deltas: true }),
  idle: () => take(2),
  async invalid() {
    try {
      await take(1);
    } catch (error) {
      return { code: error.code, violations: error.violations };
    }
  },
  async golden() {
    const generated = {};
    for (const file of await readdir(`${folder}/gen/recstream/v1`)) {
      if (file.endsWith(".js")) Object.assign(generated, await import(`${folder}/gen/recstream/v1/${file}`));
    }
    const golden = new URL("golden/", import.meta.url);
    const files = (await readdir(golden)).filter((file) => file.endsWith(".binpb"));
    const differing = [];
    for (const file of files) {
      const wire = await readFile(new URL(file, golden));
      const kind = generated[file.split(".")[0]];
      if (!wire.equals(kind.encode(kind.decode(wire)).finish())) differing.push(file);
    }
    return { count: files.length, differing };
  },
  async abort() {
    const controller = new AbortController();
    // After the loop waits for its next list.
    return take(10, {}, { signal: controller.signal }, () => setTimeout(() => controller.abort()));
  },
};

const result = await scenes[scene]();
client.close();
console.log(JSON.stringify(result ?? null));
