// How the picture lies on the stage: zoom and pan, and the way between pixels of the picture and of the screen.

const MARGIN = 12;
const MAX_ZOOM = 32;

export class Viewport {
  constructor() {
    this.stage = { width: 1, height: 1 };
    this.picture = { width: 1, height: 1 };
    this.fit();
  }

  /** Scale at which the whole picture is seen. */
  get fitScale() {
    const { stage, picture } = this;
    const free = [stage.width - 2 * MARGIN, stage.height - 2 * MARGIN];
    return Math.max(Math.min(free[0] / picture.width, free[1] / picture.height), 0.001);
  }

  fit() {
    this.scale = this.fitScale;
    this.fitted = true;
    this.centre();
  }

  centre() {
    this.left = (this.stage.width - this.picture.width * this.scale) / 2;
    this.top = (this.stage.height - this.picture.height * this.scale) / 2;
  }

  /** A new size of stage or picture: a fitted view stays fitted, another keeps its place. */
  resize(stage, picture) {
    const other = picture.width !== this.picture.width || picture.height !== this.picture.height;
    this.stage = stage;
    this.picture = picture;
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

  /** Keep the picture in sight: centred where it is smaller than the stage, else without empty borders. */
  hold() {
    const [width, height] = [this.picture.width * this.scale, this.picture.height * this.scale];
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

  /** A place in pixels of the picture, moved into it. */
  clamp([x, y]) {
    const { width, height } = this.picture;
    return [Math.min(Math.max(x, 0), width - 0.01), Math.min(Math.max(y, 0), height - 0.01)];
  }

  holds([x, y]) {
    return x >= 0 && y >= 0 && x < this.picture.width && y < this.picture.height;
  }
}
