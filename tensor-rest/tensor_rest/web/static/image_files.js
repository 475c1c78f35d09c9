// Prepares dropped, pasted or chosen files for display and sending, and converts data: URLs to files and back.

const FITTED_SIDE = 2048; // pixels of the copy of a file that is too large to send

/** Return {name, blob, bitmap} of a file; `blob` is a smaller copy if the gateway would refuse the file for its size. */
export async function opened(file, most) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  const image = { name: file.name, blob: file, bitmap };
  if (!bitmap || (file.size <= most.bytes && bitmap.width * bitmap.height <= most.pixels)) return image;
  const blob = await smaller(bitmap, Math.min(FITTED_SIDE, Math.floor(Math.sqrt(most.pixels))), "image/jpeg");
  bitmap.close();
  return { ...image, blob, bitmap: await createImageBitmap(blob) };
}

/** A file of the bitmap, scaled so that no side is longer than `side`. */
export function smaller(bitmap, side, type) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, type, 0.92));
}

/** A data: URL as a file. The page's Content-Security-Policy forbids images from such URLs, so a canvas shows it. */
export function fromDataUrl(url) {
  const [head, body] = url.split(",");
  const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.slice("data:".length).replace(";base64", "") });
}

export function toDataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
