// An exported folder (model/) in onnxruntime-web (ort/): the resize rule, names and shapes are those of docs/export.md.
'use strict';

ort.env.wasm.wasmPaths = new URL('ort/', location.href).href;
ort.env.wasm.numThreads = 1;  // more of them need a page that is cross-origin isolated

const status = document.getElementById('status');
const view = document.getElementById('view');
const state = { encoder: null, decoder: null, side: 0, image: null, size: null, frame: null, maps: null };

async function load() {
  const config = await (await fetch('model/config.json')).json();
  state.side = config.image_size;
  [state.encoder, state.decoder] = await Promise.all(
    ['encoder', 'decoder'].map((name) => ort.InferenceSession.create(`model/${name}.onnx`)),
  );
  status.textContent = 'Choose an image.';
}

/** The middle axis of (outer, length, inner) numbers at `wanted` places: each the mean of the stretch that it covers. */
function averaged(values, outer, length, inner, wanted) {
  const out = new Float32Array(outer * wanted * inner);
  const scale = length / wanted;
  for (let i = 0; i < wanted; i += 1) {
    for (let k = Math.floor(i * scale); k < Math.min(length, Math.ceil((i + 1) * scale)); k += 1) {
      const share = (Math.min(k + 1, (i + 1) * scale) - Math.max(k, i * scale)) / scale;
      for (let o = 0; o < outer; o += 1) {
        const [from, to] = [(o * length + k) * inner, (o * wanted + i) * inner];
        for (let j = 0; j < inner; j += 1) out[to + j] += share * values[from + j];
      }
    }
  }
  return out;
}

/** RGBA of a smaller image by area averaging, which browsers do not offer. */
function shrunk({ data, width, height }, w, h) {
  return averaged(averaged(data, height, width, 4, w), 1, height, 4 * w, h);
}

/** RGBA of an image, as the canvas has it; larger ones by the browser's own filter. */
function drawn(image, width, height) {
  const context = new OffscreenCanvas(width, height).getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** Lay an image into the encoder's frame: long side to `side`, filled with grey 127 to multiples of 32. */
function pixelsOf(image) {
  const scale = state.side / Math.max(image.width, image.height);
  const [w, h] = [image.width, image.height].map((length) => Math.max(1, Math.round(length * scale)));
  const [columns, rows] = [w, h].map((length) => Math.ceil(length / 32) * 32);
  const small = scale < 1 ? shrunk(drawn(image, image.width, image.height), w, h) : drawn(image, w, h).data;
  const pixels = new Float32Array(3 * rows * columns);  // 0 is grey 127
  for (let i = 0; i < w * h; i += 1) {
    const at = Math.floor(i / w) * columns + i % w;
    for (let c = 0; c < 3; c += 1) pixels[c * rows * columns + at] = (Math.round(small[4 * i + c]) - 127) / 128;
  }
  state.size = { w, h };
  state.frame = { rows, columns };
  return new ort.Tensor('float32', pixels, [1, 3, rows, columns]);
}

async function setImage(image) {
  status.textContent = 'Encoding ...';
  state.maps = null;
  state.image = image;
  [view.width, view.height] = [image.width, image.height];
  view.getContext('2d').drawImage(image, 0, 0);
  const start = performance.now();
  state.maps = await state.encoder.run({ pixel_values: pixelsOf(image) });
  status.textContent = `Encoded in ${Math.round(performance.now() - start)} ms. Click on a thing.`;
}

/** The decoder's answer to one click, `(x, y)` in pixels of the image; `before` are logits that it goes on from. */
async function answerTo(x, y, before) {
  const { rows, columns } = state.frame;
  const point = [x * state.size.w / state.image.width, y * state.size.h / state.image.height];
  return state.decoder.run({
    ...state.maps,
    point_coords: new ort.Tensor('float32', Float32Array.from(point), [1, 1, 2]),
    point_labels: new ort.Tensor('int64', BigInt64Array.of(1n), [1, 1]),
    mask_input: new ort.Tensor('float32', before ?? new Float32Array(rows * columns / 16), [1, rows / 4, columns / 4]),
    has_mask: new ort.Tensor('float32', Float32Array.of(before ? 1 : 0), [1]),
  });
}

/** Logits of the second answer to one click, which has the first one to go on from, and their size. */
async function decode(x, y) {
  const { logits: { data: first, dims: [, , h, w] } } = await answerTo(x, y, null);
  const answer = await answerTo(x, y, first.slice(0, h * w));  // (1, 4, h, w): of four masks the first
  const { data, dims } = answer.fine ?? answer.logits;
  return { logits: data.subarray(0, dims[2] * dims[3]), height: dims[2], width: dims[3], score: answer.iou.data[0] };
}

/** Numbers on a grid at another size, bilinear between the middles of cells. */
function bilinear(values, height, width, rows, columns) {
  const out = new Float32Array(rows * columns);
  for (let y = 0; y < rows; y += 1) {
    const v = Math.min(height - 1, Math.max(0, (y + 0.5) * height / rows - 0.5));
    const [y0, fy] = [Math.floor(v), v % 1];
    const y1 = Math.min(height - 1, y0 + 1);
    for (let x = 0; x < columns; x += 1) {
      const u = Math.min(width - 1, Math.max(0, (x + 0.5) * width / columns - 0.5));
      const [x0, fx] = [Math.floor(u), u % 1];
      const x1 = Math.min(width - 1, x0 + 1);
      const top = values[y0 * width + x0] * (1 - fx) + values[y0 * width + x1] * fx;
      const low = values[y1 * width + x0] * (1 - fx) + values[y1 * width + x1] * fx;
      out[y * columns + x] = top * (1 - fy) + low * fy;
    }
  }
  return out;
}

/** The mask at the image's size, a byte a pixel: to the frame, its filling off, to the image, cut at 0. */
function enlarge({ logits, height, width }) {
  const { size: { w, h }, frame: { rows, columns } } = state;
  const frame = bilinear(logits, height, width, rows, columns);
  const inside = new Float32Array(w * h);
  for (let y = 0; y < h; y += 1) inside.set(frame.subarray(y * columns, y * columns + w), y * w);
  return Uint8Array.from(bilinear(inside, h, w, view.height, view.width), (value) => value > 0);
}

async function segment(x, y) {
  const start = performance.now();
  const answer = await decode(x, y);
  const mask = enlarge(answer);
  const context = view.getContext('2d');
  context.drawImage(state.image, 0, 0);
  const shown = context.getImageData(0, 0, view.width, view.height);
  mask.forEach((inside, i) => {
    if (inside) [86, 180, 233].forEach((value, c) => { shown.data[4 * i + c] = (shown.data[4 * i + c] + value) / 2; });
  });
  context.putImageData(shown, 0, 0);
  status.textContent = `Predicted IoU ${answer.score.toFixed(2)}, ${Math.round(performance.now() - start)} ms.`;
  return mask;
}

document.getElementById('file').addEventListener('change', async (event) => {
  const [file] = event.target.files;
  if (file) await setImage(await createImageBitmap(file));
});
view.addEventListener('click', async (event) => {
  if (state.maps) await segment(event.offsetX * view.width / view.clientWidth, event.offsetY * view.height / view.clientHeight);
});
const ready = load().catch((error) => { status.textContent = `Cannot load the model: ${error.message}`; });
