// Colours of many masks: those of the contact sheets that the command line draws, in the same order.

const STEP = 0.6180339887498949; // golden-ratio steps around the circle keep neighbours far apart in hue

/** Colour of mask number `index` from 0, as #rrggbb: hue by steps, saturation .9, full value. */
export function manyColours(index) {
  const sector = ((index * STEP) % 1) * 6;
  const [full, low] = [1, 1 - 0.9];
  const part = sector % 1;
  const [falling, rising] = [1 - 0.9 * part, 1 - 0.9 * (1 - part)];
  const table = [[full, rising, low], [falling, full, low], [low, full, rising], [low, falling, full], [rising, low, full], [full, low, falling]];
  return `#${table[Math.floor(sector)].map((each) => Math.round(255 * each).toString(16).padStart(2, '0')).join('')}`;
}
