// A PNG of one grey channel, 8 or 16 bits: a canvas can only write colours, and ids are no colours.

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** Cyclic redundancy check of PNG and ZIP. */
export function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

function chunk(name, content) {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(name), 4);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, crc(bytes.subarray(4, content.length + 8)));
  return bytes;
}

async function deflate(bytes) {
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate'));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

/** Encode ids (Uint16Array(width * height)) as a grey PNG: 8 bits up to 255, else 16 (high byte first). */
export async function greyPng(ids, width, height) {
  const wide = ids.some((id) => id > 255);
  const stride = width * (wide ? 2 : 1) + 1;
  const rows = new Uint8Array(stride * height); // each row starts with its filter, 0: none
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const id = ids[y * width + x];
      if (wide) {
        rows[y * stride + 1 + 2 * x] = id >> 8;
        rows[y * stride + 2 + 2 * x] = id & 255;
      } else {
        rows[y * stride + 1 + x] = id;
      }
    }
  }
  const header = new Uint8Array(13);
  new DataView(header.buffer).setUint32(0, width);
  new DataView(header.buffer).setUint32(4, height);
  header.set([wide ? 16 : 8, 0, 0, 0, 0], 8);
  const signature = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
  const parts = [signature, chunk('IHDR', header), chunk('IDAT', await deflate(rows)), chunk('IEND', new Uint8Array(0))];
  return new Blob(parts, { type: 'image/png' });
}
