// Mouse, pen and fingers on the stage: click for a point, drag for a box, wheel or two fingers to zoom and pan.

import { foundAt } from './draw.js';
import { keepFound } from './finding.js';
import { pointAt, stopPreview } from './preview.js';
import { addPoint, setBox } from './prompts.js';
import { set, state } from './state.js';

const SLOP = { mouse: 4, pen: 6, touch: 10 };
const LONG_PRESS_MS = 550;
const MIN_BOX_PIXELS = 2;
const WHEEL_SPEED = 0.0016;

/** Listen on the canvas; timing.click is called with the time of each click that may give a mask. */
export function listen(canvas, view, timing) {
  const fingers = new Map(); // pointers that are down: id → {x, y}
  let gesture = null; // {id, start, at, button, panning, moved}: start on the stage, at in the image
  let press = 0;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  canvas.addEventListener('pointerdown', (event) => {
    if (!state.image) return;
    stopPreview();
    const at = place(event);
    fingers.set(event.pointerId, at);
    canvas.setPointerCapture(event.pointerId);
    clearTimeout(press);
    if (fingers.size > 1) {
      gesture = null; // two fingers zoom and pan
      set({ drag: null });
      return;
    }
    const panning = event.button === 1 || state.panning === true;
    // What is meant is what lay under the pointer when it went down: the stage may change its size before it goes up.
    const [id, start, type] = [event.pointerId, at, event.pointerType];
    gesture = { id, start, at: view.toImage(...at), button: event.button, panning, moved: false, type };
    if (event.pointerType === 'touch') press = setTimeout(() => longPress(event), LONG_PRESS_MS);
    set({ cursor: null, corner: null });
  });

  function longPress(event) {
    if (!gesture || gesture.moved) return;
    const { at } = gesture;
    gesture = null;
    click(at, 0, event);
  }

  canvas.addEventListener('pointermove', (event) => {
    const at = place(event);
    if (fingers.size === 2 && fingers.has(event.pointerId)) pinch(event.pointerId, at);
    else if (gesture?.id === event.pointerId) move(at, event);
    else if (event.pointerType === 'mouse') hover(view.toImage(...at));
  });

  function hover(at) {
    const here = view.holds(at) ? at : null;
    if (state.everything) set({ hover: here && foundAt(here) });
    else pointAt(here);
  }

  function pinch(id, at) {
    const before = fingers.get(id);
    const other = [...fingers].find(([key]) => key !== id)[1];
    const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
    view.pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    view.zoom(distance(at, other) / Math.max(distance(before, other), 1), (at[0] + other[0]) / 2, (at[1] + other[1]) / 2);
    fingers.set(id, at);
    set({});
  }

  function move(at, event) {
    const slop = SLOP[gesture.type] ?? SLOP.mouse;
    gesture.moved ||= Math.hypot(at[0] - gesture.start[0], at[1] - gesture.start[1]) > slop;
    if (!gesture.moved) return;
    clearTimeout(press);
    if (gesture.panning) {
      view.pan(event.movementX, event.movementY);
      set({});
    } else if (gesture.button === 0 && !state.everything) {
      const [from, to] = [gesture.at, view.toImage(...at)].map((each) => view.clamp(each));
      set({ drag: [...from, ...to] });
    }
  }

  canvas.addEventListener('pointerup', (event) => {
    clearTimeout(press);
    fingers.delete(event.pointerId);
    if (gesture?.id !== event.pointerId) return;
    const done = gesture;
    const { drag } = state;
    gesture = null;
    set({ drag: null });
    if (done.panning) return;
    if (drag) box(drag, event);
    else if (!done.moved) click(done.at, done.button === 2 ? 0 : state.tool, event);
  });

  canvas.addEventListener('pointercancel', (event) => {
    clearTimeout(press);
    fingers.delete(event.pointerId);
    gesture = null;
    set({ drag: null });
  });

  function box([x0, y0, x1, y1], event) {
    if (Math.abs(x1 - x0) < MIN_BOX_PIXELS || Math.abs(y1 - y0) < MIN_BOX_PIXELS) return;
    timing.click(event.timeStamp);
    setBox([x0, y0, x1, y1]);
  }

  function click(at, label, event) {
    if (!view.holds(at)) return;
    if (state.everything) {
      const index = foundAt(at);
      if (index !== null) keepFound([index]);
      return;
    }
    timing.click(event.timeStamp);
    if (state.peek) state.peek = label === state.tool ? { ...state.peek, clicked: true } : null;
    addPoint(at, label);
  }

  canvas.addEventListener('pointerleave', () => {
    pointAt(null);
    set({ hover: null });
  });
  canvas.addEventListener('contextmenu', (event) => event.preventDefault());
  canvas.addEventListener(
    'wheel',
    (event) => {
      if (!state.image) return;
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      view.zoom(Math.exp(-event.deltaY * lines * WHEEL_SPEED * (event.ctrlKey ? 5 : 1)), ...place(event));
      set({});
    },
    { passive: false },
  );
}

/** The handle between the two sides. */
export function listenToSlider(handle, stage) {
  const put = (share) => set({ slider: Math.min(Math.max(share, 0), 1) });
  handle.addEventListener('pointerdown', (event) => {
    handle.setPointerCapture(event.pointerId);
    event.preventDefault();
    handle.focus();
  });
  handle.addEventListener('pointermove', (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = stage.getBoundingClientRect();
    put((event.clientX - box.left) / box.width);
  });
  handle.addEventListener('keydown', (event) => {
    const steps = { ArrowLeft: -0.02, ArrowRight: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    event.stopPropagation();
    put(state.slider + steps[event.key]);
  });
}
