// How the scores of an answer read: probabilities, or plain numbers that are compared with each other only.

export const SURE = 0.6; // below it the best label is a candidate, not an answer
const ROUNDING = 0.02; // by which the probabilities of an answer may miss 1

/**
 * What an answer {labels: [{label, score}], unsure, scores} says: {labels, probable, sure, text}. `complete`: the list
 * holds all labels. What the answer or the card says of the scores counts first; logits become probabilities.
 */
export function read(answer, card, complete) {
  const declared = answer.scores ?? card?.scores;
  let { labels } = answer;
  let probable = labels.length > 1 && (declared === "probabilities" ? withinOne(labels) : sumToOne(labels, complete));
  if (declared === "logits" && !probable && complete && labels.length > 1) {
    labels = softmax(labels);
    probable = true;
  }
  const sure = !probable || (!answer.unsure && labels[0].score >= SURE);
  return { labels, probable, sure, text: (score) => (probable ? percent(score) : number(score)) };
}

/** The words beside the best label; of an answer that is not sure, its candidates. */
export function words({ labels, probable, sure, text }) {
  if (!sure) return `${labels.slice(0, 3).map(({ label, score }) => `${label} (${text(score)})`).join(", ")}`;
  if (probable) return `${text(labels[0].score)} sure`;
  return labels.length > 1 ? `score ${text(labels[0].score)}, the highest` : `output ${labels[0].label}`;
}

/** The headline: the best label, the value where there is only one, or that the model is not sure. */
export function headline({ labels, sure, text }) {
  if (labels.length === 1) return text(labels[0].score);
  return sure ? labels[0].label : "Not sure";
}

/** The length of each score's bar, 0 to 1. */
export function shares({ labels, probable }) {
  const all = labels.map(({ score }) => score);
  const [low, high] = probable ? [0, 1] : [Math.min(0, ...all), Math.max(0, ...all)];
  return new Map(labels.map(({ label, score }) => [label, high > low ? (score - low) / (high - low) : 0]));
}

export const percent = (share) => (share > 0 && share < 0.001 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`);

const number = (score) => String(Number(score.toPrecision(4)));

const withinOne = (labels) => labels.every(({ score }) => score >= 0 && score <= 1);

function sumToOne(labels, complete) {
  const sum = labels.reduce((total, { score }) => total + score, 0);
  return withinOne(labels) && sum <= 1 + ROUNDING && (!complete || sum >= 1 - ROUNDING);
}

function softmax(labels) {
  const highest = labels[0].score;
  const powers = labels.map(({ score }) => Math.exp(score - highest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return labels.map(({ label }, index) => ({ label, score: powers[index] / sum }));
}
