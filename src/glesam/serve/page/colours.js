// Colours of many masks: those of the contact sheets that the command line draws, in the same order.

const FIRST = ['#56b4e9', '#e69f00', '#009e73', '#f0e442', '#d55e00', '#cc79a7', '#0072b2']; // Okabe and Ito (2008)
const STEP = (5 ** 0.5 - 1) / 2; // golden-ratio steps around the circle keep neighbours far apart in hue
const FIRST_HUE = 0.7;
const SHADES = [[0.55, 1], [1, 0.9], [1, 0.55]]; // saturation and value of later colours in turn

/** Colour of mask number `index` from 0, as #rrggbb; `glesam.draw.colours.colour` says why these. */
export function manyColours(index) {
  if (index < FIRST.length) return FIRST[index];
  const [saturation, full] = SHADES[index % SHADES.length];
  const sector = ((FIRST_HUE + index * STEP) % 1) * 6;
  const part = sector % 1;
  const low = full * (1 - saturation);
  const [falling, rising] = [full * (1 - saturation * part), full * (1 - saturation * (1 - part))];
  const table = [[full, rising, low], [falling, full, low], [low, full, rising], [low, falling, full], [rising, low, full], [full, low, falling]];
  return `#${table[Math.floor(sector)].map((each) => Math.round(255 * each).toString(16).padStart(2, '0')).join('')}`;
}
