"""The swing-up: a pole that hangs from a cart is brought up and held by pushing the cart."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from isinglass._support.validation import check_at_least_zero, check_count
from isinglass._support.wording import shown
from isinglass.envs._rendering import check_render_mode
from isinglass.errors import DomainError

__all__ = ["SwingUp"]

CART = POLE = 0.5  # kg
LENGTH = 0.6  # m
GRAVITY = 9.82  # m/s²
PUSH = 10.0  # N
SECONDS = 0.1  # of a push
WIDTH = 0.25  # m, of the reward
JITTER = 0.1  # spread of the first state, in m, m/s, rad and rad/s
SCALE, SIZE = 100, (160, 320)  # pixels of a meter, and of an image
RAIL, BODY, ROD, GOAL = (178, 190, 195), (69, 90, 100), (0, 121, 107), (255, 213, 79)


class SwingUp(gym.Env[np.ndarray, np.ndarray]):
    r"""Swing a pole up and hold it upright over the middle of a track, by pushing its cart.

        ẍ = (2mlω² sin θ + 3mg sin θ cos θ + 4(u − bẋ)) / (4(M + m) − 3m cos² θ),
        ω̇ = −(3mlω² sin θ cos θ + 6(M + m)g sin θ + 6(u − bẋ) cos θ) / (l(4(M + m) − 3m cos² θ)),
        r = exp(−d²/2σ²),   d² = (x + l sin θ)² + l²(1 + cos θ)²

    θ is 0 where the pole hangs; d is the distance of its tip from where it stands upright over the
    middle. M = m = 0.5 kg, l = 0.6 m, b = 0.1 N s/m, g = 9.82 m/s², σ = 0.25 m. A push u of at
    most 10 N lasts 0.1 s. Observations are (x, ẋ, cos θ, sin θ, ω); the track has no end. Episodes
    begin at rest with the pole hanging, but for Gaussian noise of 0.1, and are truncated after 4 s.
    Registered as ``isinglass/SwingUp-v0``.

    Reference: Deisenroth & Rasmussen 2011, "PILCO: a model-based and data-efficient approach to
    policy search", ICML: its task, 1 − r being the cost there.

    Args:
        cap: Pushes after which an episode is truncated.
        friction: b, of the cart on its track.
        parts: Steps of Runge and Kutta's fourth order in which a push is integrated.
        render_mode: None, or ``"rgb_array"``.

    Raises:
        ParameterError: If a number is out of its range, or ``render_mode`` is another.

    Examples:
        >>> env = SwingUp()
        >>> hanging, upright = np.zeros(4), np.array([0, 0, np.pi, 0])
        >>> bool(abs(env.after(hanging, 0.0) - hanging).max() < 1e-12)
        True
        >>> env.reward(upright).round(6), env.reward(hanging).round(4)
        (np.float64(1.0), np.float64(0.0))
    """

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": ["rgb_array"],
        "render_fps": 10,
    }

    def __init__(
        self, cap: int = 40, friction: float = 0.1, parts: int = 10, render_mode: str | None = None
    ) -> None:
        self.cap = check_count("cap", cap)
        self.friction = check_at_least_zero("friction", friction)
        self.parts = check_count("parts", parts)
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        most = np.array([np.inf, np.inf, 1, 1, np.inf])
        self.observation_space = spaces.Box(-most, most, dtype=np.float64)
        self.action_space = spaces.Box(-PUSH, PUSH, (1,), np.float32)
        self._state, self._remaining = np.zeros(4), 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Lets the pole hang, nearly at rest."""
        super().reset(seed=seed, options=options)
        self._state, self._remaining = self.np_random.normal(0, JITTER, 4), self.cap
        return self.seen(self._state), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Pushes for 0.1 s; the reward is that of the state after it.

        Raises:
            DomainError: If the action is no finite number. One beyond 10 N is a push of 10 N.
            gymnasium.error.ResetNeeded: If the episode has ended.
        """
        push = _check_push(action)
        if self._remaining == 0:
            raise gym.error.ResetNeeded("SwingUp.step: the episode has ended. Call reset() first")
        self._state = self.after(self._state, push)
        self._remaining -= 1
        reward = float(self.reward(self._state))
        return self.seen(self._state), reward, False, self._remaining == 0, {}

    def after(self, state: np.ndarray, push: Any) -> np.ndarray:
        """Computes where a push leads, of many states at once.

        Args:
            state: (x, ẋ, θ, ω), ``(..., 4)``.
            push: u in newtons, ``(...)``.
        """
        state = np.asarray(state, np.float64)
        push = np.clip(np.asarray(push, np.float64), -PUSH, PUSH)
        part = SECONDS / self.parts
        for _ in range(self.parts):
            first = self._rates(state, push)
            second = self._rates(state + part / 2 * first, push)
            third = self._rates(state + part / 2 * second, push)
            fourth = self._rates(state + part * third, push)
            state = state + part / 6 * (first + 2 * second + 2 * third + fourth)
        return state

    def reward(self, state: np.ndarray) -> Any:
        """Computes r of states (x, ẋ, θ, ω), ``(..., 4)``."""
        x, angle = state[..., 0], state[..., 2]
        aside, below = x + LENGTH * np.sin(angle), LENGTH * (1 + np.cos(angle))
        return np.exp(-(aside**2 + below**2) / (2 * WIDTH**2))

    def energy(self, state: np.ndarray) -> Any:
        """Computes kinetic and potential energy in joules, of states ``(..., 4)``.

        Without friction and pushes it stays as it is.
        """
        _, speed, angle, turn = np.moveaxis(np.asarray(state, np.float64), -1, 0)
        swing = POLE * LENGTH * (speed * turn * np.cos(angle) / 2 + LENGTH * turn**2 / 6)
        return (CART + POLE) * speed**2 / 2 + swing - POLE * GRAVITY * LENGTH / 2 * np.cos(angle)

    @staticmethod
    def seen(state: np.ndarray) -> np.ndarray:
        """Returns observations (x, ẋ, cos θ, sin θ, ω) of states (x, ẋ, θ, ω)."""
        x, speed, angle, turn = np.moveaxis(np.asarray(state, np.float64), -1, 0)
        return np.stack([x, speed, np.cos(angle), np.sin(angle), turn], -1)

    def render(self) -> np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Shows rail, cart, pole and, as a disc, the goal of its tip; the view goes with x."""
        if self.render_mode is None:
            return None
        x, _, angle, _ = self._state
        tip = np.array([LENGTH * np.sin(angle), -LENGTH * np.cos(angle)])
        image = np.full((*SIZE, 3), 255.0)
        for color, start, end, radius in (
            (RAIL, (-9, 0), (9, 0), 0.01),
            (GOAL, (-x, LENGTH), (-x, LENGTH), 0.06),
            (BODY, (-0.1, 0), (0.1, 0), 0.05),
            (ROD, (0, 0), tip, 0.02),
        ):
            covered = _line(np.asarray(start, float), np.asarray(end, float), radius)[..., None]
            image = image + covered * (np.array(color) - image)
        return image.round().astype(np.uint8)

    def _rates(self, state: np.ndarray, push: Any) -> np.ndarray:
        _, speed, angle, turn = np.moveaxis(state, -1, 0)
        sine, cosine = np.sin(angle), np.cos(angle)
        pull = push - self.friction * speed
        swing = POLE * LENGTH * turn**2 * sine
        below = 4 * (CART + POLE) - 3 * POLE * cosine**2
        faster = (2 * swing + 3 * POLE * GRAVITY * sine * cosine + 4 * pull) / below
        turning = -3 * swing * cosine - 6 * (CART + POLE) * GRAVITY * sine - 6 * pull * cosine
        return np.stack([speed, faster, turn, turning / (LENGTH * below)], -1)


def _check_push(action: object) -> float:
    """Returns an action as newtons.

    Raises:
        DomainError: If it is no finite number.
    """
    try:
        numbers = np.asarray(action, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        numbers = np.array([])
    if numbers.size != 1 or not np.isfinite(numbers[0]):
        found = f"the action {shown(action)[:60]}"
        raise DomainError(found, f"Give a push from {-PUSH:g} to {PUSH:g} N")
    return float(numbers[0])


def _line(start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """Coverage, 0 to 1, of the pixels of a round line; meters from the middle of the image."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    points = np.stack([x - SIZE[1] / 2, SIZE[0] / 2 - y], -1) / SCALE
    along = end - start
    share = np.clip((points - start) @ along / max(float(along @ along), 1e-12), 0, 1)
    apart = np.linalg.norm(points - start - share[..., None] * along, axis=-1)
    return np.clip(0.5 + (radius - apart) * SCALE, 0, 1)
