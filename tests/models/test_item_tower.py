"""An absent modality does not change an item's vector. A present one does."""

import torch

from models.network.item_tower import ItemTower


def inputs(items: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(items, 6), torch.arange(items) % 3, torch.randn(items, 4)


def towers(**more: object) -> tuple[ItemTower, ItemTower]:
    """A tower for text only and one with images. Their other weights are equal."""
    torch.manual_seed(1)
    plain = ItemTower(6, 8, 3, 0.0, 0.0, **more).eval()  # type: ignore[arg-type]
    seeing = ItemTower(6, 8, 3, 0.0, 0.0, {"image": 4}, **more).eval()  # type: ignore[arg-type]
    seeing.load_state_dict(plain.state_dict(), strict=False)
    return plain, seeing


def test_without_a_modality_the_vector_is_of_text_and_id() -> None:
    text, index, image = inputs()
    for unit in (False, True):
        plain, seeing = towers(unit_norm=unit)
        expected = plain(text, index)
        torch.testing.assert_close(seeing(text, index), expected)
        torch.testing.assert_close(seeing(text, index, {"image": torch.zeros_like(image)}), expected)
        image[2] = 0
        found = seeing(text, index, {"image": image})
        torch.testing.assert_close(found[2], expected[2])
        assert ((found - expected).abs().amax(1) > 1e-3).tolist() == [True, True, False, True, True]


def test_modalities_are_dropped_whole_in_training_only() -> None:
    text, index, image = inputs(400)
    _, seeing = towers()
    seeing.media_dropout = 0.3
    without = seeing(text, index)
    torch.testing.assert_close(seeing(text, index, {"image": image}), seeing(text, index, {"image": image}))
    seeing.train()
    same = (seeing(text, index, {"image": image}) - without).abs().amax(1) < 1e-6
    assert 0.2 < same.float().mean() < 0.4


def test_whole_ids_are_dropped_and_an_unknown_item_has_none() -> None:
    text, index, _ = inputs(400)
    tower = ItemTower(6, 8, 3, 0.0, 0.25)
    with torch.no_grad():
        tower.ids.weight[1:] += 1
    of_text = tower.eval()(text, torch.zeros_like(index))
    known = index > 0
    assert torch.equal(tower(text, index)[~known], of_text[~known])
    dropped = ((tower.train()(text, index) - of_text).abs().amax(1) < 1e-6)[known]
    assert 0.15 < dropped.float().mean() < 0.35


def test_unit_vectors_stay_on_the_sphere() -> None:
    text, index, image = inputs()
    _, seeing = towers(unit_norm=True)
    torch.testing.assert_close(seeing(text, index, {"image": image}).norm(dim=1), torch.ones(5))


def test_standardising_spreads_a_narrow_cone_and_is_part_of_the_model() -> None:
    torch.manual_seed(0)
    cone = torch.nn.functional.normalize(
        torch.randn(200, 6) * 0.05 + torch.tensor([1.0, 0, 0, 0, 0, 0]), dim=1
    )
    tower = ItemTower(6, 8, 3, 0.0, 0.0).eval()
    tower.standardize(cone)
    spread = (cone - tower.text_mean) * tower.text_scale
    torch.testing.assert_close(spread.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(spread.square().sum(1).mean(), torch.tensor(1.0), atol=1e-3, rtol=0)
    again = ItemTower(6, 8, 3, 0.0, 0.0).eval()
    again.load_state_dict(tower.state_dict())
    index = torch.zeros(200, dtype=torch.long)
    torch.testing.assert_close(again(cone, index), tower(cone, index))


def world(items: int = 300) -> tuple[torch.Tensor, torch.Tensor, ItemTower]:
    """Texts [n, 6] of length one, indices (0 for the last third), and a tower.

    The tower's item vectors are linear in the texts. The id embeddings add what its head does not know.
    """
    torch.manual_seed(0)
    text = torch.nn.functional.normalize(torch.randn(items, 6), dim=1)
    index = torch.arange(1, items + 1)
    tower = ItemTower(6, 8, items, 0.1, 0.2).eval()
    hidden = torch.nn.functional.linear(text, torch.randn(8, 6) * 3, torch.randn(8))
    with torch.no_grad():
        tower.ids.weight[1:] = hidden - tower.project_text(text)
    index[items * 2 // 3 :] = 0
    return text, index, tower


def test_an_item_without_events_gets_the_vector_that_its_text_predicts() -> None:
    text, index, tower = world()
    whole = tower(text, torch.arange(1, 301))
    unseen = index == 0
    before = (tower(text, index) - whole)[unseen].norm()
    tower.init_cold_embeddings(text, index)
    assert (tower(text, index) - whole)[unseen].norm() < before / 5
    # Items with events keep their vectors.
    assert torch.equal(tower(text, index)[~unseen], whole[~unseen])
    again = ItemTower(6, 8, 300, 0.1, 0.2).eval()
    again.load_state_dict(tower.state_dict())
    assert torch.equal(again(text, index), tower(text, index))


def test_cold_embeddings_are_fitted_to_items_with_events_only() -> None:
    text, index, tower = world()
    tower.init_cold_embeddings(text, index)
    found = tower(text[:1], torch.zeros(1, dtype=torch.long))
    other = text.clone()
    other[index == 0] = 7.0
    tower.init_cold_embeddings(other, index)
    assert torch.equal(tower(text[:1], torch.zeros(1, dtype=torch.long)), found)


def test_without_any_event_cold_embeddings_stay_zero() -> None:
    text, index, tower = world()
    before = tower(text, torch.zeros_like(index))
    tower.init_cold_embeddings(text, torch.zeros_like(index))
    assert torch.equal(tower(text, torch.zeros_like(index)), before)


def test_a_new_embedding_starts_at_the_cold_vector() -> None:
    text, index, tower = world()
    tower.init_cold_embeddings(text, index)
    new = torch.nonzero(index == 0)[:4, 0]
    before = tower(text[new], index[new])
    tower.init_new_embeddings(new + 1, text[new])
    torch.testing.assert_close(tower(text[new], new + 1), before)


def test_dropped_ids_train_the_head_and_not_the_cold_embeddings() -> None:
    text, index, tower = world()
    tower.init_cold_embeddings(text, index)
    tower.head.eval()
    of_head = tower.project_text(text)
    tower.ids.train()
    tower.training = True
    tower.id_dropout = 0.999999
    known = index > 0
    torch.testing.assert_close(tower(text, index)[known], of_head[known])
