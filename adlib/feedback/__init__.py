"""What experts say about alerts: kept beside the alerts, learned from, and asked for in a panel."""

from adlib.feedback.learning import Pattern, Reviewed, next_questions
from adlib.feedback.review import Alert, Answer, FeedbackStore, ReviewSession, teach

__all__ = ["Alert", "Answer", "FeedbackStore", "Pattern", "ReviewSession", "Reviewed",
           "next_questions", "teach"]
