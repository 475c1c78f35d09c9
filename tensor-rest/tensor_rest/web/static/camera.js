// Takes a photograph: in the page if the browser allows it to use the camera, else with the device's camera program.
import { $, say } from "./dom.js";

const SIDE = 1024; // pixels of a photograph
const REASONS = {
  NotAllowedError: "The browser does not let this page use the camera.",
  NotFoundError: "No camera was found.",
  NotReadableError: "The camera is in use by another program.",
};

let stream = null;

/** `taken` is called with the photograph as a file. */
export function cameraOn(taken) {
  $("camera").addEventListener("click", () => (stream ? close() : open()));
  $("shoot").addEventListener("click", async () => {
    const file = await photograph($("video"));
    close();
    taken(file);
  });
  $("snap").addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) taken(file);
  });
  addEventListener("pagehide", close);
}

/** Browsers allow the camera only with https or on localhost; a phone's file field opens its camera program everywhere. */
async function open() {
  if (!navigator.mediaDevices?.getUserMedia) return $("snap").click();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: SIDE }, height: { ideal: SIDE } } });
    $("video").srcObject = stream;
    await $("video").play();
    view(true);
    $("shoot").focus();
  } catch (error) {
    close();
    say($("note"), `${REASONS[error.name] ?? `The camera cannot be used: ${error.message}.`} Choose an image instead.`);
  }
}

export function close() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  $("video").srcObject = null;
  view(false);
}

function view(shown) {
  $("video").hidden = $("shoot").hidden = !shown;
  say($("camera"), shown ? "Close camera" : "Camera");
}

/** The square in the middle of the video, which is the part that the page shows, as a file. */
function photograph(video) {
  const side = Math.min(video.videoWidth, video.videoHeight);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.min(side, SIDE);
  const [left, top] = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
  canvas.getContext("2d").drawImage(video, left, top, side, side, 0, 0, canvas.width, canvas.width);
  return new Promise((resolve) => {
    canvas.toBlob((blob) => resolve(new File([blob], "photograph.jpg", { type: blob.type })), "image/jpeg", 0.92);
  });
}
