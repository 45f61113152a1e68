// A baseline: the class whose telling words occur most often. Ties go to the class named first.
const words = {
  billing: ["invoice", "charge", "charged", "refund", "payment", "price", "card"],
  outage: ["down", "unavailable", "timeout", "error", "slow", "crash", "offline"],
  account: ["password", "login", "sign", "locked", "email", "account", "permission"],
};

export default function (inputs) {
  const found = inputs.text.toLowerCase().match(/[a-z]+/g) ?? [];
  let best = "other";
  let most = 0;
  for (const [label, telling] of Object.entries(words)) {
    const count = found.filter((word) => telling.includes(word)).length;
    if (count > most) {
      best = label;
      most = count;
    }
  }
  return best;
}
