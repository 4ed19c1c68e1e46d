"""What experts say about alerts: kept beside the alerts, learned from, and asked for in a panel."""

from adlib.feedback.learning import Described, Pattern, Reviewed, next_questions
from adlib.feedback.review import Alert, Answer, FeedbackStore, ReviewSession, teach

__all__ = ["Answer", "FeedbackStore", "ReviewSession", "Reviewed", "next_questions", "teach"]
