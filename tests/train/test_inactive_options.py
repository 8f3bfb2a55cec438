"""Options without effect change no bit of a training; a warning names them."""

from bench.method import Recipe
from bench.recipe import TrainingSetup, inactive_options
from bench.train import fit_predict

PLAIN = Recipe(image_size=16, epochs=2, batch_size=8, lr=5e-3, brightness=0.1)
INACTIVE = {
    "drop_path": 0.3, "unmatched_weights": "x", "freeze_epochs": 1, "unfreeze_epochs": 1,
    "head_lr": 0.5, "momentum": 0.1, "plateau_factor": 0.1, "plateau_patience": 0,
    "sync_batch_norm": True, "sampler": "class_aware", "class_weight_prior": "natural",
    "class_weight_from": 1, "focal_gamma": 0.5, "ldam_margin": 0.1, "ldam_scale": 3.0,
    "supcon_temperature": 1.0, "prototype_scale": 1.0, "cutmix_alpha": 0.1, "mixup_alpha": 3.0,
    "mix_off_epochs": 1, "rand_ops": 4, "rand_magnitude": 1.0, "pseudo_threshold": 0.1,
    "ema_warmup": False,
}  # fmt: skip


def test_options_without_effect_change_no_bit(make_task):
    recipe = PLAIN.with_overrides(INACTIVE)
    assert inactive_options(recipe, TrainingSetup()).keys() == INACTIVE.keys()
    plain, inactive = make_task(PLAIN, "plain"), make_task(recipe, "idle")
    assert (fit_predict(plain).probs == fit_predict(inactive).probs).all()
    assert "drop_path=0.3" in inactive.journal.facts["guards"]["idle switches"]
    assert "focal_gamma" not in inactive.journal.facts["guards"]["idle switches"]


def test_blocked_options_change_no_bit_and_a_warning_names_them(make_task):
    asked = {
        "cutmix_prob": 0.5, "mixup_prob": 0.5, "mix_off_epochs": 2, "class_weight_beta": 0.9,
        "class_weight_from": 2,
    }  # fmt: skip
    plain, never = make_task(PLAIN, "plain"), make_task(PLAIN.with_overrides(asked), "never")
    assert (fit_predict(plain).probs == fit_predict(never).probs).all()
    said = never.journal.facts["guards"]["idle switches"]
    for word in ("cutmix_prob=0.5 (mix_off", "mixup_prob=0.5 (mix_off", "class_weight_beta=0.9 ("):
        assert word in said
    assert said in never.journal.notes


def test_a_pretrained_recipe_without_weights_has_one_note(make_task):
    recipe = PLAIN.with_overrides({"pretrained": "x", "pretraining_data": "y", "freeze_epochs": 1})
    task = make_task(recipe)
    fit_predict(task)
    assert "idle switches" not in task.journal.facts["guards"]
    assert "trained from scratch" in task.journal.notes[0]
    own = make_task(recipe.with_overrides({"pretrained": None}), "own")
    fit_predict(own)
    assert "freeze_epochs=1 (only" in own.journal.facts["guards"]["idle switches"]


def test_a_training_that_stops_before_its_class_weights_has_a_warning(make_task):
    recipe = PLAIN.with_overrides({
        "epochs": 9, "lr": 1e-9, "early_stopping": 1, "class_weight_beta": 0.9,
        "class_weight_from": 6, "warmup_epochs": 5,
    })  # fmt: skip
    task = make_task(recipe)
    fit_predict(task)
    said = task.journal.facts["guards"]["cut short"]
    assert f"training ended after {len(task.journal.rows)} epochs" in said
    assert "class_weight_from=6" in said
    assert "warmup_epochs=5" in said
