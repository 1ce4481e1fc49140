// How the image lies on the stage: zoom and pan, and the way between pixels of the image and of the screen.

const MARGIN = 12;
const MAX_ZOOM = 32;

export class Viewport {
  constructor() {
    this.stage = { width: 1, height: 1 };
    this.image = { width: 1, height: 1 };
    this.fit();
  }

  /** Scale at which the whole image is seen. */
  get fitScale() {
    const { stage, image } = this;
    const free = [stage.width - 2 * MARGIN, stage.height - 2 * MARGIN];
    return Math.max(Math.min(free[0] / image.width, free[1] / image.height), 0.001);
  }

  fit() {
    this.scale = this.fitScale;
    this.fitted = true;
    this.centre();
  }

  centre() {
    this.left = (this.stage.width - this.image.width * this.scale) / 2;
    this.top = (this.stage.height - this.image.height * this.scale) / 2;
  }

  /** A new size of stage or image: a fitted view stays fitted, another keeps its place. */
  resize(stage, image) {
    const other = image.width !== this.image.width || image.height !== this.image.height;
    this.stage = stage;
    this.image = image;
    if (this.fitted || other) this.fit();
  }

  /** Zoom by a factor around a place on the stage (its middle when not given). */
  zoom(factor, x = this.stage.width / 2, y = this.stage.height / 2) {
    const scale = Math.min(Math.max(this.scale * factor, this.fitScale), Math.max(MAX_ZOOM, this.fitScale));
    const at = this.toImage(x, y);
    this.scale = scale;
    this.fitted = scale === this.fitScale;
    this.left = x - at[0] * scale;
    this.top = y - at[1] * scale;
    this.hold();
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.hold();
  }

  /** Keep the image in sight: centred where it is smaller than the stage, else without empty borders. */
  hold() {
    const [width, height] = [this.image.width * this.scale, this.image.height * this.scale];
    const { stage } = this;
    const inside = (start, size, room) =>
      size + 2 * MARGIN <= room ? (room - size) / 2 : Math.min(MARGIN, Math.max(room - size - MARGIN, start));
    this.left = inside(this.left, width, stage.width);
    this.top = inside(this.top, height, stage.height);
  }

  toImage(x, y) {
    return [(x - this.left) / this.scale, (y - this.top) / this.scale];
  }

  toStage(x, y) {
    return [x * this.scale + this.left, y * this.scale + this.top];
  }

  /** A place in pixels of the image, moved into it. */
  clamp([x, y]) {
    const { width, height } = this.image;
    return [Math.min(Math.max(x, 0), width - 0.01), Math.min(Math.max(y, 0), height - 0.01)];
  }

  holds([x, y]) {
    return x >= 0 && y >= 0 && x < this.image.width && y < this.image.height;
  }
}
