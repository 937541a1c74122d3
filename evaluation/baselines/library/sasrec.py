"""SASRec of RecTools (Kang and McAuley 2018, arXiv:1808.09781). Runs in the environment of the baselines, by path.

It is trained with cross entropy over all items, which Klenitskiy and Vasilev (2023, arXiv:2309.07602) found best.
"""

import copy
import itertools
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from exchange import Arrays, Say, histories, serve
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.lightning import TransformerLightningModule

_HELD_USERS = 2000
_QUERIES_A_BATCH = 128


class Sasrec:
    """SASRec with the parameters width, blocks, heads, dropout, learning_rate, batch, length, temperature and epochs.

    `temperature` divides a cosine; None: the score is the inner product. `epochs` None: training holds out the last
    event of some histories, and keeps the epoch that predicts them best. It then runs for at most `epochs_at_most`
    epochs, and ends after `patience` epochs without a better one.
    """

    def fit(self, arrays: Arrays, parameters: dict[str, Any], say: Say) -> tuple[dict[str, Any], Arrays]:
        warnings.filterwarnings("ignore")
        torch.set_num_threads(parameters["threads"])
        seed_everything(parameters["seed"], verbose=False)
        self._length = parameters["length"]
        fixed = parameters.get("epochs")
        watch = _Watch(
            say, fixed or parameters["epochs_at_most"], parameters["patience"], keep_best=fixed is None
        )
        temperature = parameters.get("temperature")
        self._cosine = temperature is not None

        def trainer() -> Trainer:
            return Trainer(
                max_epochs=watch.at_most,
                accelerator="cpu",
                devices=1,
                callbacks=[watch],
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                num_sanity_val_steps=0,
            )

        model = SASRecModel(
            n_factors=parameters["width"],
            n_blocks=parameters["blocks"],
            n_heads=parameters["heads"],
            dropout_rate=parameters["dropout"],
            session_max_len=self._length,
            lr=parameters["learning_rate"],
            batch_size=parameters["batch"],
            loss="softmax",
            train_min_user_interactions=2,
            similarity_module_kwargs={"distance": "cosine" if self._cosine else "dot"},
            lightning_module_type=_Targets,
            lightning_module_kwargs={"logits_t": temperature if self._cosine else 1.0},
            get_val_mask_func=None if fixed else _last_of_some,
            get_trainer_func=trainer,
        )
        model.fit(Dataset.construct(_sessions(arrays, self._length)))
        network = model.torch_model
        if watch.best is not None:
            network.load_state_dict(watch.best)
        network.eval()
        self._network = network

        count = int(arrays["item_count"])
        known = model.data_preparator.get_known_item_ids().astype(np.int64)
        self._positions = np.zeros(count, np.int64)
        self._positions[known] = model.data_preparator.item_id_map.convert_to_internal(known)
        with torch.no_grad():
            self._rows = network.item_model.get_all_embeddings()
            items = self._scaled(network.similarity_module.item_tower_forward(self._rows)).numpy()
        found = np.zeros((count, items.shape[1]), np.float32)
        found[known] = items[self._positions[known]]
        return {"epochs": watch.epochs}, {"items": found, "listed": self._positions > 0}

    def encode(self, arrays: Arrays) -> Arrays:
        asked = histories(arrays)
        sessions = np.zeros((len(asked), self._length), np.int64)
        for place, (items, _) in enumerate(asked):
            known = self._positions[items]
            known = known[known > 0][-self._length :]
            if len(known):
                sessions[place, -len(known) :] = known
        users = []
        with torch.no_grad():
            for start in range(0, len(sessions), _QUERIES_A_BATCH):
                batch = {"x": torch.from_numpy(sessions[start : start + _QUERIES_A_BATCH])}
                last = self._network.encode_sessions(batch, self._rows)[:, -1, :]
                users.append(self._scaled(self._network.similarity_module.session_tower_forward(last)))
        return {"users": torch.cat(users).numpy(), "found": sessions[:, -1] > 0}

    def _scaled(self, vectors: torch.Tensor) -> torch.Tensor:
        if self._cosine:
            return torch.nn.functional.normalize(vectors, dim=-1)
        return vectors


class _Targets(TransformerLightningModule):  # type: ignore[misc]
    """The library's cross entropy, computed at targets only. Padding and mere context cost nothing."""

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        network, wanted = self.torch_model, batch["yw"] > 0
        rows = network.item_model.get_all_embeddings()
        logits = network.similarity_module(network.encode_sessions(batch, rows)[wanted], rows)
        losses = torch.nn.functional.cross_entropy(
            logits / self.logits_t, batch["y"][wanted], reduction="none"
        )
        return (losses * batch["yw"][wanted]).sum() / len(losses)


class _Watch(Callback):  # type: ignore[misc]
    """Reports progress, and keeps the weights of the epoch that was best on the held-out events."""

    def __init__(self, say: Say, at_most: int, patience: int, *, keep_best: bool) -> None:
        self._say, self.at_most, self._patience, self._keep_best = say, at_most, patience, keep_best
        self.best: dict[str, Any] | None = None
        self.epochs, self._highest = at_most, -1.0
        self._gains: list[float] = []

    def __deepcopy__(self, _: object) -> "_Watch":
        return self  # RecTools copies its trainer, but the results are read from this object.

    def on_validation_batch_end(
        self,
        _: Trainer,
        __: LightningModule,
        outputs: dict[str, torch.Tensor],
        batch: dict[str, torch.Tensor],
        *___: object,
    ) -> None:
        logits = outputs["logits"].reshape(len(batch["y"]), -1)
        logits[:, 0] = -torch.inf  # padding
        own = logits.gather(1, batch["y"])
        seen = batch["x"].clone()
        logits.scatter_(1, seen, -torch.inf)
        rank = (logits > own).sum(1)
        self._gains += torch.where(rank < 10, 1 / torch.log2(rank + 2.0), 0.0).tolist()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if not self._keep_best:
            if epoch % 10 == 0:
                self._say(f"epoch {epoch} of {self.at_most}")
            return
        reached = float(np.mean(self._gains)) if self._gains else 0.0
        self._gains = []
        if reached > self._highest:
            self._highest, self.epochs = reached, epoch
            self.best = copy.deepcopy(module.torch_model.state_dict())
        if epoch % 10 == 0:
            self._say(f"epoch {epoch}: NDCG@10 {reached:.4f} on held-out events, best {self._highest:.4f}")
        if epoch - self.epochs >= self._patience:
            trainer.should_stop = True


def _sessions(arrays: Arrays, length: int) -> pd.DataFrame:
    """Splits longer histories into several users, because RecTools trains on the newest `length` + 1 events of a user.

    Each event is a target once. It has at least a quarter of `length` events before it, if the history has as many.
    """
    order = np.argsort(arrays["users"], kind="stable")
    users, items, weights = (arrays[name][order] for name in ("users", "items", "weights"))
    starts = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
    parts: list[tuple[int, int, int]] = []  # from, to, first target
    for start, end in itertools.pairwise([*starts.tolist(), len(users)]):
        while end - start > length + 1:
            first = end - (length - length // 4)
            parts.append((end - length - 1, end, first))
            end = first
        parts.append((start, end, start))
    columns: dict[str, list[Any]] = {name: [] for name in (Columns.User, Columns.Item, Columns.Weight, "row")}
    for session, (start, end, first) in enumerate(parts):
        columns[Columns.User].append(np.full(end - start, session))
        columns[Columns.Item].append(items[start:end])
        columns[Columns.Weight].append(np.where(np.arange(start, end) >= first, weights[start:end], 0))
        columns["row"].append(np.arange(start, end))
    table = pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})
    # RecTools orders by time, to the second. The row numbers give the order.
    table[Columns.Datetime] = pd.to_datetime(table.pop("row"), unit="s")
    return table


def _last_of_some(table: pd.DataFrame) -> Any:
    """Marks the last event of some sessions of three or more, if it is a target and no other session has it."""
    last = table.groupby(Columns.User)[Columns.Datetime].transform("max") == table[Columns.Datetime]
    size = table.groupby(Columns.User)[Columns.Datetime].transform("size")
    alone = ~table[Columns.Datetime].duplicated(keep=False)
    candidates = np.flatnonzero(last & (size >= 3) & alone & (table[Columns.Weight] > 0))
    chosen = np.random.default_rng(0).permutation(candidates)[:_HELD_USERS]
    mask = np.zeros(len(table), np.bool_)
    mask[chosen] = True
    return mask


if __name__ == "__main__":
    serve({"sasrec": Sasrec})
