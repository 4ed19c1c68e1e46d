"""What KNN, Ensemble and Voting are by default: the settings tried, the rule, what came out.

Both collections of `tables.py`: 22 sets of ADBench (three seeds clean, one contaminated) and 67 of
macrOData, with 0, 2, 5 and 10 % of the training rows anomalous (moved there from the test rows, at
most half of a set's anomalies). Every candidate is trained once on all training rows and on three
folds besides, whose held-out scores give its scale; these scores are kept in a folder, and every
combination is made of them through `Calibration.surprise`, as `Ensemble` does.

    ADLIB_DATA=... python benchmarks/defaults.py bank FOLDER [COLLECTION ...]
    ADLIB_DATA=... python benchmarks/defaults.py choose FOLDER

The rules, written down before the first run:

* Criterion: the mean of ROC-AUC and average precision, over the four shares of anomalous training
  rows, over sets (seeds averaged first), 89 sets of both collections alike. Reported beside it: both
  metrics by collection and share.
* Simplest within one standard error (paired over sets) of the best; the order of the grid is the
  order of simplicity.
* `KNN_GRID`: in question are those alone whose AUC and AP are not below `KNN(method="mean")` on
  clean rows and not below `KNN(method="largest")` on contaminated ones (the mean of 2, 5, 10 %), by
  more than one standard error of the difference. Windows (the series of `series.py` in windows)
  are reported and decide only where a setting loses there by more than two standard errors.
* `ENSEMBLE_GRID`: rows with one member are reported and cannot be chosen. The interval: members are
  chosen on a random half of the sets (each collection halved), and the paired bootstrap interval
  over the sets of the other half is taken against `KNN(method="mean")`, both ways, for five
  halvings. The default is then chosen on all sets, among those not below .897 / .723 on ADBench.
* `VOTING_GRID`: members with equal weights, quorum .5, at least three; same criterion and halves,
  against what it was before.

What was known before: "mean" beat "largest" by .022 AP on these ADBench sets with clean rows and by
.007, .000, .000 at 2, 5, 10 %, and 70 to 27 on sets of macrOData; ``RandomFeatureAE + KNN(mean)``
gained .007 AUC over the former default on other sets of macrOData.
"""
# R RandomFeatureAE, K KNN(method="mean"), L KNN(method="largest"), P PCAReconstruction,
# F LocalOutlierFactor(novelty=True), S OneClassSVM(nu=0.05) of adlib.detectors.voting,
# I IsolationForest, G EllipticEnvelope, M GaussianMixture(5, reg_covar=1e-3); the last five behind
# a StandardScaler
KNN_GRID = [(method, k) for k in (5, 10, 20) for method in ("largest", "mean")]
ENSEMBLE_GRID = [
    "K", "R",  # alone: no ensembles
    "R + K", "2 R + K", "R + 2 K", "R + L", "2 R + L",  # the last one: before
    "K + F", "R + F", "K + I", "R + I", "K + P", "K + S", "K + M", "R + M",
    "R + K + F", "R + K + I", "R + K + P", "R + K + S", "R + K + G", "R + K + M", "K + F + I",
    "2 R + K + F", "2 R + 2 K + F",
    "R + K + F + I", "R + K + F + S", "R + K + I + P", "R + K + F + M", "R + K + F + I + P + S",
]
VOTING_GRID = ["I + G + S",  # before
               "K + I + S", "R + K + I", "R + K + F", "R + K + S", "R + K + P", "K + F + I",
               "K + S + P", "R + K + F + I + S", "R + K + I + G + S", "K + F + I + P + S"]
