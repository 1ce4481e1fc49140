// The views of the image that are shown, and what a mask was found on.

import { hasEnhancer, mainMode, state } from './state.js';

/** The views of the image that are shown: {name, image, enhance}; the first one counts. */
export function sides() {
  if (!state.image) return [];
  const main = { name: 'main', image: state.image, enhance: mainMode() };
  const without = { name: 'without', image: state.image, enhance: 'off' };
  const clean = { name: 'clean', image: state.original, enhance: 'off' };
  const list = [main];
  if (state.view === 'compare' && hasEnhancer()) list.push(without);
  if (state.image !== state.original) list.push(clean);
  return list;
}

export const placeOf = (side) => `${side.image.id}|${side.enhance}`;

/** Whether an object's mask on a side is the one that it was taken with, whatever its prompts. */
export const isFixed = (object, side) => object.fixed !== null && object.fixed.where === placeOf(side);
