// An image of the reader's own, decoded by the browser, at most LONGEST pixels of its longer side.
import { context2d, text64 } from "./common.js";

const LONGEST = 320;

// {width, height, pixels (height, width, 3), rgb: the same as base64}; null where the file is no image
export const ownImage = async (file) => {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    return null;
  }
  const share = Math.min(1, LONGEST / Math.max(image.width, image.height));
  const width = Math.max(1, Math.floor(image.width * share)), height = Math.max(1, Math.floor(image.height * share));
  const context = context2d(new OffscreenCanvas(width, height));
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  const all = context.getImageData(0, 0, width, height).data, pixels = new Uint8Array(3 * width * height);
  for (let i = 0; i < width * height; i++) pixels.set(all.subarray(4 * i, 4 * i + 3), 3 * i);
  let rgb = "";
  for (let i = 0; i < pixels.length; i += 3000) rgb += text64(pixels.subarray(i, i + 3000)); // multiples of 3 join
  return { width, height, pixels, rgb };
};
