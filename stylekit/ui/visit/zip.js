// A ZIP file of [name, Blob] pairs, stored as they are, since pictures are compressed already; as a Blob. Names are made distinct.
const zip = (() => {
  const table = Uint32Array.from({length: 256}, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  const crc = (bytes) => {
    let sum = ~0;
    for (const byte of bytes) sum = table[(sum ^ byte) & 255] ^ (sum >>> 8);
    return ~sum >>> 0;
  };
  const numbers = (...pairs) => { // [value, bytes], little-endian
    const view = new DataView(new ArrayBuffer(pairs.reduce((n, [, size]) => n + size, 0)));
    let at = 0;
    for (const [value, size] of pairs) {
      if (size === 2) view.setUint16(at, value, true); else view.setUint32(at, value, true);
      at += size;
    }
    return view.buffer;
  };
  const distinct = (name, taken) => {
    const dot = name.lastIndexOf("."), [stem, ending] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
    let found = name;
    for (let n = 2; taken.has(found.toLowerCase()); n++) found = `${stem}-${n}${ending}`;
    taken.add(found.toLowerCase());
    return found;
  };

  return async function zip(files) {
    const parts = [], directory = [], taken = new Set();
    let offset = 0;
    for (const [given, blob] of files) {
      const name = new TextEncoder().encode(distinct(given, taken)), sum = crc(new Uint8Array(await blob.arrayBuffer()));
      const about = [[20, 2], [0x0800, 2], [0, 2], [0, 2], [0x21, 2], [sum, 4], [blob.size, 4], [blob.size, 4], [name.length, 2], [0, 2]];
      parts.push(numbers([0x04034b50, 4], ...about), name, blob); // names are UTF-8; the date is 1 January 1980
      directory.push(numbers([0x02014b50, 4], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), name);
      offset += 30 + name.length + blob.size;
      if (offset > 0xfffffffe || directory.length > 2 * 0xfffe) throw new Error("too large for a ZIP file");
    }
    const size = directory.reduce((n, part) => n + part.byteLength, 0), count = directory.length / 2;
    return new Blob([...parts, ...directory, numbers([0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [size, 4], [offset, 4], [0, 2])],
      {type: "application/zip"});
  };
})();
