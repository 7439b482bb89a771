// The browser's own store, in IndexedDB: "visit" holds one thing under a name, "results" one record after the other. Everything may fail (a
// full disk, a private window): reading then gives nothing, writing gives false.
const MOST_RESULTS = 200;

const store = (() => {
  const opened = new Promise((resolve) => {
    try {
      const request = indexedDB.open("stylekit", 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("visit");
        request.result.createObjectStore("results", {autoIncrement: true});
      };
      request.onsuccess = () => {
        request.result.onversionchange = () => request.result.close(); // a newer page in another tab wants to change it
        resolve(request.result);
      };
      request.onerror = request.onblocked = () => resolve(null);
    } catch { resolve(null); }
  });

  /** What `work` asks of the object store `name`, once it is safely there; undefined if it failed, with the error's name in `store.failed`. */
  async function ask(name, mode, work) {
    const database = await opened;
    if (!database) { store.failed = "closed"; return undefined; }
    return new Promise((resolve) => {
      try {
        const transaction = database.transaction(name, mode), request = work(transaction.objectStore(name));
        transaction.oncomplete = () => resolve(request.result ?? null);
        transaction.onerror = transaction.onabort = () => { store.failed = transaction.error?.name ?? "aborted"; resolve(undefined); };
      } catch (error) { store.failed = error.name; resolve(undefined); }
    });
  }

  return {
    failed: "",
    get: async (key) => (await ask("visit", "readonly", (s) => s.get(key))) ?? null,
    put: async (key, value) => (await ask("visit", "readwrite", (s) => s.put(value, key))) !== undefined,
    drop: (key) => ask("visit", "readwrite", (s) => s.delete(key)),
    keys: async () => (await ask("results", "readonly", (s) => s.getAllKeys())) ?? [],
    result: async (key) => (await ask("results", "readonly", (s) => s.get(key))) ?? null,
    remove: (key) => ask("results", "readwrite", (s) => s.delete(key)),
    clear: () => ask("results", "readwrite", (s) => s.clear()),
    /** Add a result, in the place of the oldest where there is no room: its key, or undefined, and how many made room. */
    async add(result) {
      const keys = await store.keys(), over = keys.slice(0, Math.max(0, keys.length - MOST_RESULTS + 1));
      for (const key of over) await store.remove(key);
      for (let dropped = over.length; ; dropped++) {
        const key = await ask("results", "readwrite", (s) => s.add(result));
        if (key !== undefined) return {key, dropped};
        const [oldest] = await store.keys();
        if (store.failed !== "QuotaExceededError" || oldest === undefined) return {key, dropped};
        await store.remove(oldest);
      }
    },
  };
})();
