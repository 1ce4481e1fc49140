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

/** Lay an image into the encoder's frame: long side to `side`, filled with grey 127 to multiples of 32. */
async function pixelsOf(image) {
  const scale = state.side / Math.max(image.width, image.height);
  const [w, h] = [image.width, image.height].map((length) => Math.max(1, Math.round(length * scale)));
  const [columns, rows] = [w, h].map((length) => Math.ceil(length / 32) * 32);
  const small = await createImageBitmap(image, { resizeWidth: w, resizeHeight: h, resizeQuality: 'high' });
  const context = new OffscreenCanvas(columns, rows).getContext('2d');
  context.fillStyle = 'rgb(127 127 127)';
  context.fillRect(0, 0, columns, rows);
  context.drawImage(small, 0, 0);
  const { data } = context.getImageData(0, 0, columns, rows);
  const pixels = new Float32Array(3 * rows * columns);
  for (let i = 0; i < rows * columns; i += 1) {
    for (let c = 0; c < 3; c += 1) pixels[c * rows * columns + i] = (data[4 * i + c] - 127) / 128;
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
  state.maps = await state.encoder.run({ pixel_values: await pixelsOf(image) });
  status.textContent = `Encoded in ${Math.round(performance.now() - start)} ms. Click on a thing.`;
}

/** Logits of the answer to one click, `(x, y)` in pixels of the image, and their size. */
async function decode(x, y) {
  const { rows, columns } = state.frame;
  const point = [x * state.size.w / state.image.width, y * state.size.h / state.image.height];
  const answer = await state.decoder.run({
    ...state.maps,
    point_coords: new ort.Tensor('float32', Float32Array.from(point), [1, 1, 2]),
    point_labels: new ort.Tensor('int64', BigInt64Array.of(1n), [1, 1]),
    mask_input: new ort.Tensor('float32', new Float32Array(rows * columns / 16), [1, rows / 4, columns / 4]),
    has_mask: new ort.Tensor('float32', new Float32Array(1), [1]),
  });
  const { data, dims } = answer.fine ?? answer.logits;  // (1, 4, h, w): of four masks the first
  return { logits: data.subarray(0, dims[2] * dims[3]), height: dims[2], width: dims[3], score: answer.iou.data[0] };
}

/** The mask at the image's size, a byte a pixel: bilinear, cut at 0. */
function enlarge({ logits, height, width }) {
  const mask = new Uint8Array(view.width * view.height);
  const [sx, sy] = [state.size.w / view.width * width / state.frame.columns, state.size.h / view.height * height / state.frame.rows];
  for (let y = 0; y < view.height; y += 1) {
    const v = Math.min(height - 1, Math.max(0, (y + 0.5) * sy - 0.5));
    const [y0, fy] = [Math.floor(v), v % 1];
    const y1 = Math.min(height - 1, y0 + 1);
    for (let x = 0; x < view.width; x += 1) {
      const u = Math.min(width - 1, Math.max(0, (x + 0.5) * sx - 0.5));
      const [x0, fx] = [Math.floor(u), u % 1];
      const x1 = Math.min(width - 1, x0 + 1);
      const top = logits[y0 * width + x0] * (1 - fx) + logits[y0 * width + x1] * fx;
      const low = logits[y1 * width + x0] * (1 - fx) + logits[y1 * width + x1] * fx;
      mask[y * view.width + x] = top * (1 - fy) + low * fy > 0;
    }
  }
  return mask;
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
