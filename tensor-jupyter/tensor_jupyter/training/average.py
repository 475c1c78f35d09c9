"""The moving average of the weights (EMA): the average is validated, kept and published; training uses the weights."""

import keras


class Averaged(keras.callbacks.Callback):
    """Swaps the weights with their average, which the optimizer keeps (`use_ema`), at the start and end of each epoch.

    Between two epochs, and so in a checkpoint, the model holds the average and the optimizer the weights.
    resumed: the training starts from such a checkpoint.
    """

    def __init__(self, resumed: bool = False) -> None:
        super().__init__()
        self.exchanged = resumed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras names them
        self._exchange(averaged=False)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._exchange(averaged=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._exchange(averaged=True)

    def _exchange(self, *, averaged: bool) -> None:
        optimizer = self.model.optimizer
        if averaged == self.exchanged:
            return
        self.exchanged = averaged
        for weight, average in zip(
            self.model.trainable_variables, optimizer._model_variables_moving_average, strict=True
        ):
            kept = weight.numpy()
            weight.assign(average)
            average.assign(kept)
