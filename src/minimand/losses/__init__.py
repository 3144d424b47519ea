"""The catalogue of losses, one family a file."""

from minimand.losses.autoencoder import ELBO, KLSparsity, Reconstruction, gaussian_kl
from minimand.losses.base import Loss, PointwiseLoss
from minimand.losses.classification import BinaryCrossEntropy, CrossEntropy
from minimand.losses.composite import Sum
from minimand.losses.custom import loss
from minimand.losses.distribution import KL, Distillation, JensenShannon, ReverseKL, Wasserstein1
from minimand.losses.embedding import ArcFace, Contrastive, Cosine, InfoNCE, SupCon, Triplet
from minimand.losses.energy import ContrastiveDivergence
from minimand.losses.export import as_keras, as_lightgbm, as_xgboost
from minimand.losses.forecast import (
    CRPSEnsemble,
    CRPSGaussian,
    CRPSQuantile,
    EnergyScore,
    SinkhornDivergence,
)
from minimand.losses.imbalance import BinaryFocal, Focal, LogitAdjusted, Poly
from minimand.losses.likelihood import (
    Gamma,
    InverseGaussian,
    NegativeBinomial,
    Poisson,
    Tweedie,
    ZeroInflatedPoisson,
)
from minimand.losses.margin import (
    Exponential,
    Hinge,
    Logistic,
    ModifiedHuber,
    Perceptron,
    Ramp,
    SquaredHinge,
    ZeroOne,
)
from minimand.losses.multimargin import CrammerSinger, WestonWatkins
from minimand.losses.multitask import (
    MGDA,
    CAGrad,
    FixedWeights,
    GradNorm,
    PCGrad,
    UncertaintyWeighting,
)
from minimand.losses.ordinal import Ordinal
from minimand.losses.overlap import (
    Dice,
    FocalTversky,
    GeneralisedDice,
    Jaccard,
    LovaszHinge,
    LovaszSoftmax,
    Tversky,
)
from minimand.losses.proportion import Beta
from minimand.losses.quantile import Expectile, Quantile, Quantiles
from minimand.losses.ranking import LambdaRank, ListMLE, ListNet, RankNet, pad_groups
from minimand.losses.regression import (
    Absolute,
    EpsilonInsensitive,
    HalfSquared,
    Huber,
    LogCosh,
    RootMeanSquared,
    Squared,
    SquaredEpsilonInsensitive,
)
from minimand.losses.reinforcement import (
    PolicyGradient,
    PPOClip,
    QuantileTD,
    TDError,
    bellman_target,
    greedy_value,
    log_probability,
    taken,
)
from minimand.losses.relative import MAPE, MSLE, SMAPE
from minimand.losses.robust import Cauchy, HuberWithScale, TukeyBiweight, Welsch
from minimand.losses.scale import BetaNLL, GaussianNLL, LaplaceNLL, StudentT, VonMises
from minimand.losses.segmentation import Boundary, PixelCrossEntropy, signed_distance
from minimand.losses.sequence import CTC, sequence_target
from minimand.losses.simplex import Brier, Sparsemax
from minimand.losses.survival import Cox, LogNormalAFT, WeibullAFT
from minimand.losses.tasks import MultiTask, UncertainTasks

__all__ = [
    "CTC",
    "ELBO",
    "KL",
    "MAPE",
    "MGDA",
    "MSLE",
    "SMAPE",
    "Absolute",
    "ArcFace",
    "Beta",
    "BetaNLL",
    "BinaryCrossEntropy",
    "BinaryFocal",
    "Boundary",
    "Brier",
    "CAGrad",
    "CRPSEnsemble",
    "CRPSGaussian",
    "CRPSQuantile",
    "Cauchy",
    "Contrastive",
    "ContrastiveDivergence",
    "Cosine",
    "Cox",
    "CrammerSinger",
    "CrossEntropy",
    "Dice",
    "Distillation",
    "EnergyScore",
    "EpsilonInsensitive",
    "Expectile",
    "Exponential",
    "FixedWeights",
    "Focal",
    "FocalTversky",
    "Gamma",
    "GaussianNLL",
    "GeneralisedDice",
    "GradNorm",
    "HalfSquared",
    "Hinge",
    "Huber",
    "HuberWithScale",
    "InfoNCE",
    "InverseGaussian",
    "Jaccard",
    "JensenShannon",
    "KLSparsity",
    "LambdaRank",
    "LaplaceNLL",
    "ListMLE",
    "ListNet",
    "LogCosh",
    "LogNormalAFT",
    "Logistic",
    "LogitAdjusted",
    "Loss",
    "LovaszHinge",
    "LovaszSoftmax",
    "ModifiedHuber",
    "MultiTask",
    "NegativeBinomial",
    "Ordinal",
    "PCGrad",
    "PPOClip",
    "Perceptron",
    "PixelCrossEntropy",
    "PointwiseLoss",
    "Poisson",
    "PolicyGradient",
    "Poly",
    "Quantile",
    "QuantileTD",
    "Quantiles",
    "Ramp",
    "RankNet",
    "Reconstruction",
    "ReverseKL",
    "RootMeanSquared",
    "SinkhornDivergence",
    "Sparsemax",
    "Squared",
    "SquaredEpsilonInsensitive",
    "SquaredHinge",
    "StudentT",
    "Sum",
    "SupCon",
    "TDError",
    "Triplet",
    "TukeyBiweight",
    "Tversky",
    "Tweedie",
    "UncertainTasks",
    "UncertaintyWeighting",
    "VonMises",
    "Wasserstein1",
    "WeibullAFT",
    "Welsch",
    "WestonWatkins",
    "ZeroInflatedPoisson",
    "ZeroOne",
    "as_keras",
    "as_lightgbm",
    "as_xgboost",
    "bellman_target",
    "gaussian_kl",
    "greedy_value",
    "log_probability",
    "loss",
    "pad_groups",
    "sequence_target",
    "signed_distance",
    "taken",
]
