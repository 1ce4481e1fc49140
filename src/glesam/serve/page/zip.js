// A ZIP of files that are packed already: stored as they are (PKWARE's APPNOTE 6.3, without ZIP64).

import { crc } from './png.js';

const UTF8 = 0x0800; // names are UTF-8
const MOST_BYTES = 0xffffffff;

/** Fields, each [bytes, value], little-endian. */
function fields(list) {
  const bytes = new Uint8Array(list.reduce((sum, [size]) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [size, value] of list) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return bytes;
}

/** What local and central headers have in common. */
const common = (sum, size, name) => [[2, 20], [2, UTF8], [2, 0], [2, 0], [2, 0x21], [4, sum], [4, size], [4, size], [2, name.length], [2, 0]];

/** Files, [[name, Blob]], as one Blob. */
export async function zip(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [path, blob] of files) {
    const [name, sum] = [new TextEncoder().encode(path), crc(new Uint8Array(await blob.arrayBuffer()))];
    const shared = common(sum, blob.size, name);
    const head = fields([[4, 0x04034b50], ...shared]);
    directory.push(fields([[4, 0x02014b50], [2, 20], ...shared, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), name);
    parts.push(head, name, blob);
    offset += head.length + name.length + blob.size;
  }
  const size = directory.reduce((total, part) => total + part.length, 0);
  if (offset + size > MOST_BYTES) throw new Error('expected at most 4 GB for one file, got more; download in parts');
  const end = fields([[4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, offset], [2, 0]]);
  return new Blob([...parts, ...directory, end], { type: 'application/zip' });
}
