// How the scores of an answer are shown: as probabilities, or as numbers that only compare with each other.

export const SURE = 0.6; // below it the best label is a candidate, not an answer
const ROUNDING = 0.02; // by which the sum of an answer's probabilities may differ from 1

/**
 * Interpret an answer {labels: [{label, score}], unsure, concept}: returns {labels, probable, sure, familiar, text}.
 * `complete`: the list holds all labels. The card's declaration of the scores has priority. Not `familiar`: for the
 * concept model the image is unlike those of the training, so that the scores mean little.
 */
export function read({ labels, unsure, concept }, card, complete) {
  const declared = card?.scores === "probabilities";
  const probable = labels.length > 1 && (declared ? withinOne(labels) : sumToOne(labels, complete));
  const familiar = concept?.in_distribution ?? true;
  const sure = familiar && (!probable || (!unsure && labels[0].score >= SURE));
  return { labels, probable, sure, familiar, text: (score) => (probable ? percent(score) : number(score)) };
}

/** Convert a row of raw outputs as the gateway's classify does: logits, by the card or the output's name, become probabilities. */
export function probabilities(row, alias, card) {
  const logits = card?.scores ? card.scores === "logits" : alias.toLowerCase().includes("logits");
  if (!logits) return row;
  const highest = Math.max(...row);
  const powers = row.map((score) => Math.exp(score - highest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** The text beside the best label; for an answer that is not sure, its candidates. */
export function words({ labels, probable, sure, familiar, text }) {
  const named = ({ label, score }) => `${label} (${text(score)})`;
  if (!familiar) return `unlike the training images; closest ${named(labels[0])}`;
  if (!sure) return labels.slice(0, 3).map(named).join(", ");
  if (probable) return `${text(labels[0].score)} sure`;
  return labels.length > 1 ? `score ${text(labels[0].score)}, the highest` : `output ${labels[0].label}`;
}

/** The headline: the best label, the value if there is only one, or "Not sure" or "Unfamiliar". */
export function headline({ labels, sure, familiar, text }) {
  if (!familiar) return "Unfamiliar";
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
